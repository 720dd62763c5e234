import { ConfigError, ShapeError, type LabelMap } from '@pvt/core';

/** A region as COCO stores it: lengths of runs down the columns, outside and inside in turn, outside first. */
export interface Rle {
  readonly size: readonly [height: number, width: number];
  readonly counts: readonly number[];
}

/** A closed outline [x, y, x, y, …] along pixel corners. Outer ones run clockwise on the screen, those of holes the other way. */
export type Polygon = readonly number[];

/**
 * The pixels of one class as run lengths.
 *
 * @example
 * runLengths({ width: 2, height: 2, labels: Uint16Array.of(0, 1, 0, 1) }, 1); // { size: [2, 2], counts: [2, 2] }
 */
export function maskToRle({ width, height, labels }: LabelMap, label: number): Rle {
  const counts: number[] = [];
  let inside = false;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      if ((labels[y * width + x] === label) !== inside) {
        counts.push(run);
        [run, inside] = [0, !inside];
      }
      run++;
    }
  }
  return { size: [height, width], counts: [...counts, run] };
}

/**
 * The inverse of {@link maskToRle}: 1 inside, 0 outside.
 *
 * @throws ShapeError where the runs do not fill the size
 */
export function rleToMask({ size: [height, width], counts }: Rle): LabelMap {
  const total = counts.reduce((sum, run) => sum + run, 0);
  if (total !== width * height)
    throw new ShapeError(
      'runs-misfit',
      `fromRunLengths: expected runs of ${height * width} pixels, got ${total}; check the size, [height, width].`,
    );
  const labels = new Uint16Array(total);
  let at = 0;
  for (const [i, run] of counts.entries()) {
    for (const end = at + run; at < end; at++)
      if (i % 2 === 1) labels[(at % height) * width + Math.floor(at / height)] = 1;
  }
  return { width, height, labels };
}

/**
 * Run lengths in COCO's text form: from the fourth on as differences to the run but one before, six bits a character.
 *
 * @example
 * encodeRuns([6, 1, 40, 4, 5, 4, 5, 4, 21]); // '61X13mN000`0'
 */
export function rleToString(counts: readonly number[]): string {
  let text = '';
  for (const [i, count] of counts.entries()) {
    let rest = i > 2 ? count - counts[i - 2]! : count;
    for (let more = true; more;) {
      const bits = rest & 31;
      rest >>= 5;
      more = bits & 16 ? rest !== -1 : rest !== 0;
      text += String.fromCharCode(48 + (more ? bits | 32 : bits));
    }
  }
  return text;
}

/**
 * The inverse of {@link rleToString}.
 *
 * @throws ConfigError for a text that it did not write
 */
export function rleFromString(text: string): number[] {
  const counts: number[] = [];
  for (let at = 0; at < text.length;) {
    let value = 0;
    for (let shift = 0, more = true; more; shift += 5) {
      const bits = text.charCodeAt(at++) - 48;
      if (!(bits >= 0 && bits < 64) || shift > 25)
        throw new ConfigError(
          'runs-invalid',
          `decodeRuns: expected COCO run lengths, got another character or a cut at place ${at - 1}; check the text.`,
        );
      more = (bits & 32) !== 0;
      value |= (bits & 31) << shift;
      if (!more && bits & 16) value |= -1 << (shift + 5);
    }
    counts.push(counts.length > 2 ? value + counts.at(-2)! : value);
  }
  return counts;
}

/** Steps along pixel corners, clockwise: right, down, left, up. */
const steps = [
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, -1],
] as const;

/**
 * Outlines of the regions of one class, corners only. Pixels that touch at a corner alone are regions apart; the areas
 * of the outlines, holes negative, sum to the number of pixels.
 *
 * @example
 * outlines({ width: 2, height: 1, labels: Uint16Array.of(1, 1) }, 1); // [[0, 0, 2, 0, 2, 1, 0, 1]]
 */
export function maskToPolygons({ width, height, labels }: LabelMap, label: number): Polygon[] {
  const has = (x: number, y: number): boolean =>
    x >= 0 && y >= 0 && x < width && y < height && labels[y * width + x] === label;
  const columns = width + 1;
  /** Per corner, a bit for each direction in which a border with the region at its right leaves it. */
  const leaving = new Uint8Array(columns * (height + 1));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!has(x, y)) continue;
      if (!has(x, y - 1)) leaving[y * columns + x]! |= 1;
      if (!has(x + 1, y)) leaving[y * columns + x + 1]! |= 2;
      if (!has(x, y + 1)) leaving[(y + 1) * columns + x + 1]! |= 4;
      if (!has(x - 1, y)) leaving[(y + 1) * columns + x]! |= 8;
    }
  }
  const found: number[][] = [];
  for (let start = 0; start < leaving.length; start++) {
    while (leaving[start] !== 0) {
      const outline: number[] = [];
      let corner = start;
      let direction = [0, 1, 2, 3].find((way) => leaving[start]! & (1 << way))!;
      const first = direction;
      do {
        leaving[corner]! &= ~(1 << direction);
        corner += steps[direction]![0] + steps[direction]![1] * columns;
        // Where two borders cross, turning right stays with the same pixel.
        const ways = leaving[corner]! | (corner === start ? 1 << first : 0);
        const next = [1, 0, 3].map((turn) => (direction + turn) % 4).find((way) => ways & (1 << way))!;
        if (next !== direction) outline.push(corner % columns, Math.floor(corner / columns));
        direction = next;
      } while (corner !== start || direction !== first);
      found.push([...outline.slice(-2), ...outline.slice(0, -2)]);
    }
  }
  return found;
}
