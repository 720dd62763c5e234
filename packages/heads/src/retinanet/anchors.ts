import type { Box, Size } from '@pvt/core';

/** How anchors lie on the levels of a pyramid. */
export interface AnchorRules {
  /** Sides in pixels of square anchors, for a level of this stride. */
  readonly sizes: (stride: number) => readonly number[];
  /** Height over width. */
  readonly ratios: readonly number[];
  /** Whether corners around the cell's origin are rounded to whole pixels, halves to even. */
  readonly rounded: boolean;
  /**
   * Distance of cells: the level's `stride`, or `measured` as the input's size over the map's, cut to whole
   * pixels.
   */
  readonly step: 'stride' | 'measured';
}

/** What anchors depend on in a level. */
export interface AnchorLevel {
  readonly stride: number;
  /** Height and width of the map. */
  readonly grid: Size;
}

const halfToEven = (value: number): number =>
  Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);

/** Anchors per cell: one for each ratio and size. */
export const anchorsPerCell = ({ sizes, ratios }: AnchorRules, stride: number): number =>
  sizes(stride).length * ratios.length;

/**
 * The anchors of one level as a function of their index, which runs over rows, then columns, then ratios,
 * then sizes.
 *
 * @param size [height, width] of the model's input, padding included
 * @example
 * const anchorAt = anchorGenerator(rules, { stride: 8, grid: [12, 16] }, [96, 128]);
 * anchorAt(0); // the first cell's first anchor
 */
export function anchorGenerator(
  { sizes, ratios, rounded, step }: AnchorRules,
  { stride, grid: [rows, columns] }: AnchorLevel,
  [height, width]: Size,
): (index: number) => Box {
  const corner = (side: number): number => (rounded ? halfToEven(side / 2) : side / 2);
  const base = ratios.flatMap((ratio) =>
    sizes(stride).map((size) => [corner(size / Math.sqrt(ratio)), corner(size * Math.sqrt(ratio))] as const),
  );
  const [stepY, stepX] =
    step === 'stride' ? [stride, stride] : [Math.floor(height / rows), Math.floor(width / columns)];
  return (index) => {
    const cell = Math.floor(index / base.length);
    const [halfWidth, halfHeight] = base[index % base.length]!;
    const x = (cell % columns) * stepX!;
    const y = Math.floor(cell / columns) * stepY!;
    return [x - halfWidth, y - halfHeight, x + halfWidth, y + halfHeight];
  };
}
