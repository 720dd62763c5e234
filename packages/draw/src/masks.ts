import { ShapeError, type LabelMap } from '@pvt/core';
import { classColor, type Color } from '@pvt/heads';
import { editPixels, sizesFor, type CanvasContext, type CanvasPixels } from './canvas.ts';
import { heatColor } from './colors.ts';
import { Tags } from './tags.ts';

export interface DrawLabelsOptions {
  /** Names of the classes by index, drawn into their regions; no names, no text. */
  readonly names?: readonly string[];
  readonly color?: (label: number) => Color;
  /** Share of the colour over the image, 0 … 1; 0.5 where absent. */
  readonly alpha?: number;
  /** Classes that leave the image as it is, such as a background. */
  readonly clear?: readonly number[];
  readonly fontSize?: number;
  /** Least share of the image that a region's name is drawn for; 0.004 where absent. */
  readonly least?: number;
}

const blend = (data: Uint8ClampedArray, at: number, color: Color, alpha: number): void => {
  for (let c = 0; c < 3; c++) data[at + c] = data[at + c]! * (1 - alpha) + color[c]! * alpha;
  data[at + 3] = Math.max(data[at + 3]!, Math.round(alpha * 255));
};

/** Chessboard distance of every pixel to the nearest of another class or to the border, in two sweeps. */
function depths({ width, height, labels }: LabelMap): Uint16Array {
  const depth = new Uint16Array(width * height);
  const sweep = (order: 1 | -1): void => {
    for (let i = 0; i < depth.length; i++) {
      const at = order === 1 ? i : depth.length - 1 - i;
      const [x, y] = [at % width, Math.floor(at / width)];
      let least = order === 1 ? 65535 : depth[at]!;
      for (const [dx, dy] of [
        [-1, 0],
        [-1, -1],
        [0, -1],
        [1, -1],
      ] as const) {
        const [nx, ny] = [x + dx * order, y + dy * order];
        const inside =
          nx >= 0 && ny >= 0 && nx < width && ny < height && labels[ny * width + nx] === labels[at];
        least = Math.min(least, inside ? depth[ny * width + nx]! + 1 : 1);
      }
      depth[at] = least;
    }
  };
  sweep(1);
  sweep(-1);
  return depth;
}

/**
 * A label map over what the canvas shows: every class in its colour, borders between classes solid, names in the middle
 * of the largest regions.
 *
 * @throws ShapeError where map and canvas differ in size
 * @example
 * context.drawImage(image, 0, 0);
 * drawLabels(context, await segmenter.segment(image), { names: segmenter.names });
 */
export function drawLabels(
  context: CanvasContext,
  map: LabelMap,
  {
    names = [],
    color = classColor,
    alpha = 0.5,
    clear = [],
    fontSize,
    least = 0.004,
  }: DrawLabelsOptions = {},
): void {
  const { width, height, labels } = map;
  const { canvas } = context;
  if (canvas.width !== width || canvas.height !== height) {
    throw new ShapeError(
      'canvas-misfit',
      `drawLabels: expected a canvas of ${width}x${height} pixels, as the map has, got ${canvas.width}x${canvas.height}; give the canvas the image's size.`,
    );
  }
  const { font, line } = sizesFor(context, fontSize);
  const depth = depths(map);
  const hidden = new Set(clear);
  const colors = new Map<number, Color>();
  const colorOf = (label: number): Color => colors.get(label) ?? colors.set(label, color(label)).get(label)!;
  editPixels(context, ({ data }) => {
    for (const [i, label] of labels.entries()) {
      if (hidden.has(label)) continue;
      const [x, y] = [i % width, Math.floor(i / width)];
      const edge = depth[i]! <= line / 2 && x >= line && y >= line && x < width - line && y < height - line;
      blend(data, i * 4, colorOf(label), edge ? Math.min(1, alpha + 0.4) : alpha);
    }
  });

  const area = new Map<number, number>();
  /** Each class's deepest pixels. */
  const deepest = new Map<number, number[]>();
  for (const [i, label] of labels.entries()) {
    area.set(label, (area.get(label) ?? 0) + 1);
    const known = deepest.get(label);
    if (known === undefined || depth[i]! > depth[known[0]!]!) deepest.set(label, [i]);
    else if (depth[i] === depth[known[0]!]) known.push(i);
  }
  context.save();
  const tags = new Tags(context, font);
  for (const [label, pixels] of [...area].sort((a, b) => b[1] - a[1])) {
    const name = names[label];
    if (name === undefined || hidden.has(label) || pixels < least * labels.length) continue;
    const size = tags.measure(name);
    const middle = deepest.get(label)!;
    const at = middle[middle.length >> 1]!;
    const [x, y] = [(at % width) - size.width / 2, Math.floor(at / width) - size.height / 2];
    tags.draw(name, colorOf(label), [
      [x, y],
      [x, y + size.height],
      [x, y - size.height],
    ]);
  }
  context.restore();
}

export interface DrawMaskOptions {
  readonly color?: Color;
  /** Share of the colour over the image, 0 … 1; 0.5 where absent. */
  readonly alpha?: number;
}

/**
 * The pixels of one class, tinted.
 *
 * @param label whose pixels; those that are 1 where absent
 * @throws ShapeError where map and canvas differ in size
 * @example
 * drawMask(context, fromRunLengths(region), 1, { color: [255, 0, 0] });
 */
export function drawMask(
  context: CanvasContext,
  map: LabelMap,
  label = 1,
  { color = classColor(label), alpha = 0.5 }: DrawMaskOptions = {},
): void {
  const others = new Set(map.labels);
  others.delete(label);
  drawLabels(context, map, { color: () => color, alpha, clear: [...others] });
}

/** Values over an image, coarse or fine: attention, a class's probability, a channel of a pyramid. */
export interface HeatMap {
  readonly width: number;
  readonly height: number;
  /** Row-major. */
  readonly values: ArrayLike<number>;
}

export interface DrawHeatMapOptions {
  /** Values drawn coldest and hottest; the smallest and the largest where absent. */
  readonly range?: readonly [coldest: number, hottest: number];
  /** Share of the colour at the hottest; the coldest gets a third of it. 0.75 where absent. */
  readonly alpha?: number;
}

/** The map's value at a canvas pixel, between its cells. */
function heatAt(
  { width, height, values }: HeatMap,
  x: number,
  y: number,
  { width: toWidth, height: toHeight }: CanvasPixels,
): number {
  const place = (i: number, from: number, to: number) =>
    Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
  const [px, py] = [place(x, width, toWidth), place(y, height, toHeight)];
  const [left, top] = [Math.floor(px), Math.floor(py)];
  const [right, bottom] = [Math.min(left + 1, width - 1), Math.min(top + 1, height - 1)];
  const along = (row: number) =>
    values[row * width + left]! + (px - left) * (values[row * width + right]! - values[row * width + left]!);
  return along(top) + (py - top) * (along(bottom) - along(top));
}

/**
 * A heat map stretched over the canvas, from dark blue to yellow (viridis).
 *
 * @throws ShapeError where the values do not fill the map
 * @example
 * const values = await tf.mean(pyramid[3].tensor, 3).data();
 * drawHeatMap(context, { width: 7, height: 7, values });
 */
export function drawHeatMap(
  context: CanvasContext,
  map: HeatMap,
  { range, alpha = 0.75 }: DrawHeatMapOptions = {},
): void {
  const { width, height, values } = map;
  if (values.length !== width * height || values.length === 0)
    throw new ShapeError(
      'values-misfit',
      `drawHeatMap: expected ${width * height} values for ${height}x${width}, at least one, got ${values.length}; check the map.`,
    );
  const all = Array.from(values);
  const [coldest, hottest] = range ?? [
    all.reduce((a, b) => Math.min(a, b)),
    all.reduce((a, b) => Math.max(a, b)),
  ];
  editPixels(context, (pixels) => {
    for (let y = 0, at = 0; y < pixels.height; y++) {
      for (let x = 0; x < pixels.width; x++, at += 4) {
        const heat =
          hottest > coldest
            ? Math.min(Math.max((heatAt(map, x, y, pixels) - coldest) / (hottest - coldest), 0), 1)
            : 0;
        blend(pixels.data, at, heatColor(heat), alpha * (1 / 3 + (2 / 3) * heat));
      }
    }
  });
}
