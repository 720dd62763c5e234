import { resize as resizeImage } from '@pvt/adapter-image';
import {
  type Image,
  type Resampling,
  type LabelMap,
  ignoredLabel,
  type LabelledBox,
  type Size,
} from '@pvt/core';
import { type Target } from '../dataSet.ts';

/** A decoded image and the truth about it, in its pixels. */
export interface Labelled<T extends Target = Target> {
  readonly image: Image;
  readonly target: T;
}

export type Colour = readonly [red: number, green: number, blue: number];

/** ImageNet's mean, which normalisation turns into about 0. */
export const meanColour: Colour = [124, 116, 104];

/** Source rows or columns in a new order; -1 where there is none. */
type Order = Int32Array;

const ordered = (length: number, from: (i: number) => number): Order =>
  Int32Array.from({ length }, (_, i) => from(i));

function pickImage({ width, data }: Image, rows: Order, columns: Order, [red, green, blue]: Colour): Image {
  const picked = new Uint8Array(rows.length * columns.length * 3);
  let at = 0;
  for (const row of rows) {
    for (let x = 0; x < columns.length; x++, at += 3) {
      const column = columns[x]!;
      const from = (row * width + column) * 3;
      const inside = row >= 0 && column >= 0;
      picked[at] = inside ? data[from]! : red;
      picked[at + 1] = inside ? data[from + 1]! : green;
      picked[at + 2] = inside ? data[from + 2]! : blue;
    }
  }
  return { width: columns.length, height: rows.length, data: picked };
}

function pickLabels({ width, labels }: LabelMap, rows: Order, columns: Order): LabelMap {
  const picked = new Uint16Array(rows.length * columns.length);
  let at = 0;
  for (const row of rows) {
    for (const column of columns)
      picked[at++] = row >= 0 && column >= 0 ? labels[row * width + column]! : ignoredLabel;
  }
  return { width: columns.length, height: rows.length, labels: picked };
}

/** A target of any kind, changed: a class stays, boxes and label maps follow. */
export function mapTarget<T extends Target>(
  target: T,
  box: (one: LabelledBox) => LabelledBox | undefined,
  map: (labels: LabelMap) => LabelMap,
): T;
export function mapTarget(
  target: Target,
  box: (one: LabelledBox) => LabelledBox | undefined,
  map: (labels: LabelMap) => LabelMap,
): Target {
  if (typeof target === 'number') return target;
  return 'labels' in target ? map(target) : target.flatMap((one) => box(one) ?? []);
}

/**
 * Mirrors left and right, or top and bottom.
 *
 * @example
 * const mirrored = flip({ image, target: labels }, 'horizontal');
 */
export function flip<T extends Target>(
  { image, target }: Labelled<T>,
  axis: 'horizontal' | 'vertical',
): Labelled<T> {
  const { width, height } = image;
  const rows = ordered(height, (y) => (axis === 'vertical' ? height - 1 - y : y));
  const columns = ordered(width, (x) => (axis === 'horizontal' ? width - 1 - x : x));
  const mirrored = ([left, top, right, bottom]: LabelledBox['box']): LabelledBox['box'] =>
    axis === 'horizontal'
      ? [width - right, top, width - left, bottom]
      : [left, height - bottom, right, height - top];
  return {
    image: pickImage(image, rows, columns, meanColour),
    target: mapTarget(
      target,
      (one) => ({ ...one, box: mirrored(one.box) }),
      (map) => pickLabels(map, rows, columns),
    ),
  };
}

/** Swaps rows and columns. */
function transpose<T extends Target>({ image, target }: Labelled<T>): Labelled<T> {
  const { width, height } = image;
  const data = new Uint8Array(image.data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) data[(x * height + y) * 3 + c] = image.data[(y * width + x) * 3 + c]!;
    }
  }
  const transposed = (map: LabelMap): LabelMap => {
    const labels = new Uint16Array(map.labels.length);
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) labels[x * height + y] = map.labels[y * width + x]!;
    return { width: height, height: width, labels };
  };
  const box = (one: LabelledBox): LabelledBox => {
    const [left, top, right, bottom] = one.box;
    return { ...one, box: [top, left, bottom, right] };
  };
  return { image: { width: height, height: width, data }, target: mapTarget(target, box, transposed) };
}

/**
 * Turns by `quarters` times 90 degrees, clockwise.
 *
 * @example
 * const upright = turn({ image, target: boxes }, 1);
 */
export function turn<T extends Target>(sample: Labelled<T>, quarters: number): Labelled<T> {
  const turned = [
    () => sample,
    () => flip(transpose(sample), 'horizontal'),
    () => flip(flip(sample, 'horizontal'), 'vertical'),
    () => flip(transpose(sample), 'vertical'),
  ];
  return turned[((quarters % 4) + 4) % 4]!();
}

/** A part of an image; what lies beyond its edges is padding. */
export interface Window {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/** How a crop treats what it cuts. */
export interface CropOptions {
  /** Boxes of which less than this share of the area is left are dropped; 0.3 where absent. */
  readonly keep?: number;
  /** Colour of the padding; ImageNet's mean where absent. Padding in label maps is ignored. */
  readonly padding?: Colour;
}

const area = ([left, top, right, bottom]: LabelledBox['box']): number =>
  Math.max(0, right - left) * Math.max(0, bottom - top);

/**
 * Cuts a window out of image and target alike.
 *
 * @example
 * const part = crop({ image, target: boxes }, { top: 10, left: -5, height: 64, width: 64 }, { keep: 0.5 });
 */
export function crop<T extends Target>(
  { image, target }: Labelled<T>,
  { top, left, height, width }: Window,
  { keep = 0.3, padding = meanColour }: CropOptions = {},
): Labelled<T> {
  if (top === 0 && left === 0 && height === image.height && width === image.width) return { image, target };
  const rows = ordered(height, (y) => (top + y >= 0 && top + y < image.height ? top + y : -1));
  const columns = ordered(width, (x) => (left + x >= 0 && left + x < image.width ? left + x : -1));
  const cut = (one: LabelledBox): LabelledBox | undefined => {
    const box = [
      Math.max(0, one.box[0] - left),
      Math.max(0, one.box[1] - top),
      Math.min(width, one.box[2] - left),
      Math.min(height, one.box[3] - top),
    ] as const;
    return box[2] > box[0] && box[3] > box[1] && area(box) >= keep * area(one.box)
      ? { ...one, box }
      : undefined;
  };
  return {
    image: pickImage(image, rows, columns, padding),
    target: mapTarget(target, cut, (map) => pickLabels(map, rows, columns)),
  };
}

/**
 * Resizes to [height, width]: the image as Pillow does (bilinear where nothing is said), label maps to the nearest pixel.
 *
 * @throws ConfigError, ShapeError as `resize` of `@pvt/adapter-image`
 * @example
 * const small = resizeSample({ image, target: labels }, [128, 128]);
 */
export function resizeSample<T extends Target>(
  { image, target }: Labelled<T>,
  [height, width]: Size,
  resampling: Resampling = 'bilinear',
): Labelled<T> {
  if (height === image.height && width === image.width) return { image, target };
  const [down, across] = [height / image.height, width / image.width];
  const nearest = (from: number, to: number): Order =>
    ordered(to, (i) => Math.min(from - 1, Math.floor(((i + 0.5) * from) / to)));
  const scaled = (one: LabelledBox): LabelledBox => {
    const [left, top, right, bottom] = one.box;
    return { ...one, box: [left * across, top * down, right * across, bottom * down] };
  };
  return {
    image: resizeImage(image, [height, width], resampling),
    target: mapTarget(target, scaled, (map) =>
      pickLabels(map, nearest(map.height, height), nearest(map.width, width)),
    ),
  };
}

/**
 * Covers a window inside the image with one colour: its pixels are ignored in label maps, boxes drop out where less than `keep` of
 * them can still be seen.
 *
 * @example
 * const hidden = cover({ image, target: 3 }, { top: 0, left: 0, height: 8, width: 8 });
 */
export function cover<T extends Target>(
  { image, target }: Labelled<T>,
  { top, left, height, width }: Window,
  { keep = 0.3, padding = meanColour }: CropOptions = {},
): Labelled<T> {
  const data = image.data.slice();
  for (let y = top; y < top + height; y++) {
    for (let x = left; x < left + width; x++) data.set(padding, (y * image.width + x) * 3);
  }
  const seen = (one: LabelledBox): LabelledBox | undefined => {
    const hidden = [
      Math.max(left, one.box[0]),
      Math.max(top, one.box[1]),
      Math.min(left + width, one.box[2]),
      Math.min(top + height, one.box[3]),
    ] as const;
    return area(one.box) - area(hidden) >= keep * area(one.box) ? one : undefined;
  };
  const covered = (map: LabelMap): LabelMap => {
    const labels = map.labels.slice();
    for (let y = top; y < top + height; y++)
      labels.fill(ignoredLabel, y * map.width + left, y * map.width + left + width);
    return { ...map, labels };
  };
  return { image: { ...image, data }, target: mapTarget(target, seen, covered) };
}
