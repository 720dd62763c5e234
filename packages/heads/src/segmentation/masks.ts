import { ConfigError, ShapeError, type LabelMap, type Size } from '@pvt/core';

/**
 * A mask in COCO's run-length encoding: lengths of runs down the columns, of 0 and 1 in turn, beginning with
 * 0.
 */
export interface Rle {
  readonly size: Size;
  readonly counts: readonly number[];
}

/**
 * A closed polygon [x, y, x, y, …] along pixel corners: clockwise on the screen; those of holes
 * counterclockwise.
 */
export type Polygon = readonly number[];

/**
 * Run-length encodes the mask of one class.
 *
 * @example
 * const map = { width: 2, height: 2, labels: Uint16Array.of(0, 1, 0, 1) };
 * maskToRle(map, 1); // { size: [2, 2], counts: [2, 2] }
 */
export function maskToRle({ width, height, labels }: LabelMap, label: number): Rle {
  const counts: number[] = [];
  let value = false;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      if ((labels[y * width + x] === label) !== value) {
        counts.push(run);
        [run, value] = [0, !value];
      }
      run++;
    }
  }
  return { size: [height, width], counts: [...counts, run] };
}

/**
 * The inverse of {@link maskToRle}: a label map with 1 in the mask and 0 elsewhere.
 *
 * @throws ShapeError if the runs do not fill the size
 */
export function rleToMask({ size: [height, width], counts }: Rle): LabelMap {
  const total = counts.reduce((sum, run) => sum + run, 0);
  if (total !== width * height)
    throw new ShapeError(
      'runs-misfit',
      `rleToMask: expected runs of ${height * width} pixels, got ${total}; check the size, [height, width].`,
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
 * Run lengths in COCO's text form: from the fourth on, differences to the second to last one, six bits per
 * character.
 *
 * @example
 * rleToString([6, 1, 40, 4, 5, 4, 5, 4, 21]); // '61X13mN000`0'
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
 * @throws ConfigError for any other text
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
          `rleFromString: expected COCO run lengths, ` +
            `got an invalid character or the end at index ${at - 1}; check the text.`,
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
 * A bit for each of {@link steps}, at every pixel corner from which the mask's border continues in that
 * direction.
 */
function borderSteps({ width, height, labels }: LabelMap, label: number): Uint8Array {
  const has = (x: number, y: number): boolean =>
    x >= 0 && y >= 0 && x < width && y < height && labels[y * width + x] === label;
  const columns = width + 1;
  const border = new Uint8Array(columns * (height + 1));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!has(x, y)) continue;
      // The mask lies to the right of each step.
      if (!has(x, y - 1)) border[y * columns + x]! |= 1;
      if (!has(x + 1, y)) border[y * columns + x + 1]! |= 2;
      if (!has(x, y + 1)) border[(y + 1) * columns + x + 1]! |= 4;
      if (!has(x - 1, y)) border[(y + 1) * columns + x]! |= 8;
    }
  }
  return border;
}

/** The polygon from a corner until it closes; removes its steps from the border. */
function tracePolygon(border: Uint8Array, start: number, columns: number): number[] {
  const polygon: number[] = [];
  const first = [0, 1, 2, 3].find((way) => border[start]! & (1 << way))!;
  let [corner, direction] = [start, first];
  do {
    border[corner]! &= ~(1 << direction);
    corner += steps[direction]![0] + steps[direction]![1] * columns;
    // If two borders cross, turning right stays with the same pixel.
    const ways = border[corner]! | (corner === start ? 1 << first : 0);
    const next = [1, 0, 3].map((turn) => (direction + turn) % 4).find((way) => ways & (1 << way))!;
    if (next !== direction) polygon.push(corner % columns, Math.floor(corner / columns));
    direction = next;
  } while (corner !== start || direction !== first);
  return [...polygon.slice(-2), ...polygon.slice(0, -2)];
}

/**
 * Polygons around the connected regions of one class, corners only. Pixels that touch only at a corner are
 * separate regions; the areas of the polygons, holes negative, sum to the number of pixels.
 *
 * @example
 * maskToPolygons({ width: 2, height: 1, labels: Uint16Array.of(1, 1) }, 1); // [[0, 0, 2, 0, 2, 1, 0, 1]]
 */
export function maskToPolygons(map: LabelMap, label: number): Polygon[] {
  const border = borderSteps(map, label);
  const polygons: Polygon[] = [];
  for (let start = 0; start < border.length; start++) {
    while (border[start] !== 0) polygons.push(tracePolygon(border, start, map.width + 1));
  }
  return polygons;
}
