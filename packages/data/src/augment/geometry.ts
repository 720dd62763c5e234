import { resize as resizeImage } from '@pvt/adapter-image';
import {
  ignoredLabel,
  type Box,
  type Image,
  type LabelledBox,
  type LabelMap,
  type Resampling,
  type Size,
} from '@pvt/core';
import type { LabelledImage, Target } from '../dataSet.ts';

export type Color = readonly [red: number, green: number, blue: number];

/** ImageNet's mean, which normalization maps to about 0. */
export const meanColor: Color = [124, 116, 104];

/** For every target row or column its source; -1 for padding. */
type SourceIndices = Int32Array;

const indices = (length: number, from: (i: number) => number): SourceIndices =>
  Int32Array.from({ length }, (_, i) => from(i));

function gatherPixels(
  { width, data }: Image,
  rows: SourceIndices,
  columns: SourceIndices,
  [red, green, blue]: Color,
): Image {
  const gathered = new Uint8Array(rows.length * columns.length * 3);
  let at = 0;
  for (const row of rows) {
    for (let x = 0; x < columns.length; x++, at += 3) {
      const column = columns[x]!;
      const from = (row * width + column) * 3;
      const padding = row < 0 || column < 0;
      gathered[at] = padding ? red : data[from]!;
      gathered[at + 1] = padding ? green : data[from + 1]!;
      gathered[at + 2] = padding ? blue : data[from + 2]!;
    }
  }
  return { width: columns.length, height: rows.length, data: gathered };
}

function gatherLabels({ width, labels }: LabelMap, rows: SourceIndices, columns: SourceIndices): LabelMap {
  const gathered = new Uint16Array(rows.length * columns.length);
  let at = 0;
  for (const row of rows) {
    for (const column of columns)
      gathered[at++] = row >= 0 && column >= 0 ? labels[row * width + column]! : ignoredLabel;
  }
  return { width: columns.length, height: rows.length, labels: gathered };
}

/** Changes a target of any kind: a class stays, each box is changed or dropped, a label map is changed. */
function mapTarget<T extends Target>(
  target: T,
  box: (one: LabelledBox) => LabelledBox | undefined,
  map: (labels: LabelMap) => LabelMap,
): T;
function mapTarget(
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
  { image, target }: LabelledImage<T>,
  axis: 'horizontal' | 'vertical',
): LabelledImage<T> {
  const { width, height } = image;
  const rows = indices(height, (y) => (axis === 'vertical' ? height - 1 - y : y));
  const columns = indices(width, (x) => (axis === 'horizontal' ? width - 1 - x : x));
  const mirrored = ([left, top, right, bottom]: Box): Box =>
    axis === 'horizontal'
      ? [width - right, top, width - left, bottom]
      : [left, height - bottom, right, height - top];
  return {
    image: gatherPixels(image, rows, columns, meanColor),
    target: mapTarget(
      target,
      (one) => ({ ...one, box: mirrored(one.box) }),
      (map) => gatherLabels(map, rows, columns),
    ),
  };
}

/** Swaps rows and columns. */
function transpose<T extends Target>({ image, target }: LabelledImage<T>): LabelledImage<T> {
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
 * Rotates by 90 degrees, `times` times, clockwise.
 *
 * @example
 * const upright = rotate90({ image, target: boxes }, 1);
 */
export function rotate90<T extends Target>(sample: LabelledImage<T>, times: number): LabelledImage<T> {
  const rotations = [
    () => sample,
    () => flip(transpose(sample), 'horizontal'),
    () => flip(flip(sample, 'horizontal'), 'vertical'),
    () => flip(transpose(sample), 'vertical'),
  ];
  return rotations[((times % 4) + 4) % 4]!();
}

/** A rectangle in pixels, which may reach beyond the image's edges. */
export interface Region {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/** How a crop treats what it cuts. */
export interface CropOptions {
  /** Boxes are dropped if less than this share of their area stays visible. Default: 0.3. */
  readonly minVisibility?: number;
  /** Color of the padding. Default: ImageNet's mean. Padding in label maps is ignored. */
  readonly padding?: Color;
}

const area = ([left, top, right, bottom]: Box): number =>
  Math.max(0, right - left) * Math.max(0, bottom - top);

/**
 * Cuts a region out of image and target; what lies beyond the image is padding.
 *
 * @example
 * const region = { top: 10, left: -5, height: 64, width: 64 };
 * const part = crop({ image, target: boxes }, region, { minVisibility: 0.5 });
 */
export function crop<T extends Target>(
  { image, target }: LabelledImage<T>,
  { top, left, height, width }: Region,
  { minVisibility = 0.3, padding = meanColor }: CropOptions = {},
): LabelledImage<T> {
  if (top === 0 && left === 0 && height === image.height && width === image.width) return { image, target };
  const rows = indices(height, (y) => (top + y >= 0 && top + y < image.height ? top + y : -1));
  const columns = indices(width, (x) => (left + x >= 0 && left + x < image.width ? left + x : -1));
  const cut = (one: LabelledBox): LabelledBox | undefined => {
    const box = [
      Math.max(0, one.box[0] - left),
      Math.max(0, one.box[1] - top),
      Math.min(width, one.box[2] - left),
      Math.min(height, one.box[3] - top),
    ] as const;
    const visible = area(box);
    return visible > 0 && visible >= minVisibility * area(one.box) ? { ...one, box } : undefined;
  };
  return {
    image: gatherPixels(image, rows, columns, padding),
    target: mapTarget(target, cut, (map) => gatherLabels(map, rows, columns)),
  };
}

/**
 * Resizes a target along with its image: boxes are scaled, label maps take the nearest pixel.
 *
 * @param from [height, width] of the image before
 * @param to [height, width] of the image after
 */
export function resizeTarget<T extends Target>(target: T, from: Size, to: Size): T {
  if (from[0] === to[0] && from[1] === to[1]) return target;
  const [scaleY, scaleX] = [to[0] / from[0], to[1] / from[1]];
  const scaled = (one: LabelledBox): LabelledBox => {
    const [left, top, right, bottom] = one.box;
    return { ...one, box: [left * scaleX, top * scaleY, right * scaleX, bottom * scaleY] };
  };
  const nearest = (length: number, target: number): SourceIndices =>
    indices(target, (i) => Math.min(length - 1, Math.floor(((i + 0.5) * length) / target)));
  return mapTarget(target, scaled, (map) =>
    gatherLabels(map, nearest(map.height, to[0]), nearest(map.width, to[1])),
  );
}

/**
 * Resizes to [height, width]: the image as Pillow does, label maps to the nearest pixel.
 *
 * @param resampling default: bilinear
 * @throws ConfigError, ShapeError as `resize` of `@pvt/adapter-image`
 * @example
 * const small = resizeSample({ image, target: labels }, [128, 128]);
 */
export function resizeSample<T extends Target>(
  { image, target }: LabelledImage<T>,
  size: Size,
  resampling: Resampling = 'bilinear',
): LabelledImage<T> {
  return {
    image: resizeImage(image, size, resampling),
    target: resizeTarget(target, [image.height, image.width], size),
  };
}

/**
 * Paints a region inside the image with one color: label maps ignore its pixels, and boxes are dropped if
 * less than `minVisibility` of them stays visible.
 *
 * @example
 * const erased = erase({ image, target: 3 }, { top: 0, left: 0, height: 8, width: 8 });
 */
export function erase<T extends Target>(
  { image, target }: LabelledImage<T>,
  { top, left, height, width }: Region,
  { minVisibility = 0.3, padding = meanColor }: CropOptions = {},
): LabelledImage<T> {
  const data = image.data.slice();
  for (let y = top; y < top + height; y++) {
    for (let x = left; x < left + width; x++) data.set(padding, (y * image.width + x) * 3);
  }
  const visible = (one: LabelledBox): LabelledBox | undefined => {
    const hidden = [
      Math.max(left, one.box[0]),
      Math.max(top, one.box[1]),
      Math.min(left + width, one.box[2]),
      Math.min(top + height, one.box[3]),
    ] as const;
    return area(one.box) - area(hidden) >= minVisibility * area(one.box) ? one : undefined;
  };
  const erased = (map: LabelMap): LabelMap => {
    const labels = map.labels.slice();
    for (let y = top; y < top + height; y++)
      labels.fill(ignoredLabel, y * map.width + left, y * map.width + left + width);
    return { ...map, labels };
  };
  return { image: { ...image, data }, target: mapTarget(target, visible, erased) };
}
