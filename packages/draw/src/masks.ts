import { ShapeError, type LabelMap } from '@pvt/core';
import { classColor, type Color } from '@pvt/heads';
import { editPixels, sizesFor, type CanvasContext, type CanvasPixels } from './canvas.ts';
import { viridis } from './colors.ts';
import { Tags } from './tags.ts';

export interface DrawLabelsOptions {
  /** Names of the classes by index, drawn into their regions. Default: none. */
  readonly names?: readonly string[];
  /** Color of a class. Default: `classColor`. */
  readonly color?: (label: number) => Color;
  /** Opacity, 0 … 1. Default: 0.5. */
  readonly alpha?: number;
  /** Classes that are not drawn, such as a background. */
  readonly transparent?: readonly number[];
  /** Height of the text in pixels. Default: a thirtieth of the canvas's shorter side. */
  readonly fontSize?: number;
  /** Least share of the image at which a class is named. Default: 0.004. */
  readonly minShare?: number;
}

const blend = (data: Uint8ClampedArray, at: number, color: Color, alpha: number): void => {
  for (let c = 0; c < 3; c++) data[at + c] = data[at + c]! * (1 - alpha) + color[c]! * alpha;
  data[at + 3] = Math.max(data[at + 3]!, Math.round(alpha * 255));
};

/**
 * Distance transform: the chessboard distance of every pixel to the nearest of another class or to the
 * border.
 */
function distanceTransform({ width, height, labels }: LabelMap): Uint16Array {
  const distances = new Uint16Array(width * height);
  const sweep = (order: 1 | -1): void => {
    for (let i = 0; i < distances.length; i++) {
      const at = order === 1 ? i : distances.length - 1 - i;
      const [x, y] = [at % width, Math.floor(at / width)];
      let distance = order === 1 ? 65535 : distances[at]!;
      for (const [dx, dy] of [
        [-1, 0],
        [-1, -1],
        [0, -1],
        [1, -1],
      ] as const) {
        const [nx, ny] = [x + dx * order, y + dy * order];
        const isOnMap = nx >= 0 && ny >= 0 && nx < width && ny < height;
        const isSameClass = isOnMap && labels[ny * width + nx] === labels[at];
        distance = Math.min(distance, isSameClass ? distances[ny * width + nx]! + 1 : 1);
      }
      distances[at] = distance;
    }
  };
  sweep(1);
  sweep(-1);
  return distances;
}

/**
 * Draws a label map over an image: every class in its color, borders between classes more opaque, names in
 * the middle of the largest regions.
 *
 * @throws ShapeError if map and canvas differ in size
 * @example
 * context.drawImage(image, 0, 0);
 * drawLabels(context, await segmenter.segment(image), { names: segmenter.names });
 */
export function drawLabels(context: CanvasContext, map: LabelMap, options: DrawLabelsOptions = {}): void {
  const { color = classColor, alpha = 0.5, transparent = [], fontSize } = options;
  const { width, height, labels } = map;
  const { canvas } = context;
  if (canvas.width !== width || canvas.height !== height) {
    throw new ShapeError(
      'canvas-misfit',
      `drawLabels: expected a canvas of ${width}x${height} pixels, as the map has, ` +
        `got ${canvas.width}x${canvas.height}; give the canvas the image's size.`,
    );
  }
  const { line } = sizesFor(context, fontSize);
  const distances = distanceTransform(map);
  const hidden = new Set(transparent);
  const colors = new Map<number, Color>();
  const colorOf = (label: number): Color => colors.get(label) ?? colors.set(label, color(label)).get(label)!;
  editPixels(context, ({ data }) => {
    for (const [i, label] of labels.entries()) {
      if (hidden.has(label)) continue;
      const [x, y] = [i % width, Math.floor(i / width)];
      const isAtImageBorder = x < line || y < line || x >= width - line || y >= height - line;
      const isEdge = distances[i]! <= line / 2 && !isAtImageBorder;
      blend(data, i * 4, colorOf(label), isEdge ? Math.min(1, alpha + 0.4) : alpha);
    }
  });
  drawNames(context, map, distances, colorOf, options);
}

/** Names the classes that cover enough of the image, the largest first, each where it is widest. */
function drawNames(
  context: CanvasContext,
  { width, labels }: LabelMap,
  distances: Uint16Array,
  colorOf: (label: number) => Color,
  { names = [], transparent = [], fontSize, minShare = 0.004 }: DrawLabelsOptions,
): void {
  const area = new Map<number, number>();
  /** Each class's pixels that are farthest from its border. */
  const centers = new Map<number, number[]>();
  for (const [i, label] of labels.entries()) {
    area.set(label, (area.get(label) ?? 0) + 1);
    const known = centers.get(label);
    if (known === undefined || distances[i]! > distances[known[0]!]!) centers.set(label, [i]);
    else if (distances[i] === distances[known[0]!]) known.push(i);
  }
  context.save();
  const tags = new Tags(context, sizesFor(context, fontSize).font);
  for (const [label, pixels] of [...area].sort((a, b) => b[1] - a[1])) {
    const name = names[label];
    if (name === undefined || transparent.includes(label) || pixels < minShare * labels.length) continue;
    const size = tags.measure(name);
    const candidates = centers.get(label)!;
    const center = candidates[candidates.length >> 1]!;
    const [x, y] = [(center % width) - size.width / 2, Math.floor(center / width) - size.height / 2];
    tags.draw(name, colorOf(label), [
      [x, y],
      [x, y + size.height],
      [x, y - size.height],
    ]);
  }
  context.restore();
}

export interface DrawMaskOptions {
  /** Default: `classColor` of the label. */
  readonly color?: Color;
  /** Opacity, 0 … 1. Default: 0.5. */
  readonly alpha?: number;
}

/**
 * Draws the pixels of one class over an image.
 *
 * @param label of the class. Default: 1.
 * @throws ShapeError if map and canvas differ in size
 * @example
 * drawMask(context, rleToMask(rle), 1, { color: [255, 0, 0] });
 */
export function drawMask(
  context: CanvasContext,
  map: LabelMap,
  label = 1,
  { color = classColor(label), alpha = 0.5 }: DrawMaskOptions = {},
): void {
  const others = new Set(map.labels);
  others.delete(label);
  drawLabels(context, map, { color: () => color, alpha, transparent: [...others] });
}

/** Values over an image, coarse or fine: attention, a class's probability, a channel of a pyramid. */
export interface HeatMap {
  readonly width: number;
  readonly height: number;
  /** Row-major. */
  readonly values: ArrayLike<number>;
}

export interface DrawHeatMapOptions {
  /** Values at the ends of the color map. Default: the smallest and the largest. */
  readonly range?: readonly [min: number, max: number];
  /** Opacity of the largest value; the smallest has a third of it. Default: 0.75. */
  readonly alpha?: number;
}

/** The map's value at a canvas pixel, interpolated bilinearly. */
function valueAt(
  { width, height, values }: HeatMap,
  x: number,
  y: number,
  { width: toWidth, height: toHeight }: CanvasPixels,
): number {
  const position = (i: number, from: number, to: number) =>
    Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
  const [px, py] = [position(x, width, toWidth), position(y, height, toHeight)];
  const [left, top] = [Math.floor(px), Math.floor(py)];
  const [right, bottom] = [Math.min(left + 1, width - 1), Math.min(top + 1, height - 1)];
  const along = (row: number) =>
    values[row * width + left]! + (px - left) * (values[row * width + right]! - values[row * width + left]!);
  return along(top) + (py - top) * (along(bottom) - along(top));
}

/**
 * Draws a heat map, stretched over the canvas, from dark blue to yellow (viridis).
 *
 * @throws ShapeError if the values do not fill the map
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
      `drawHeatMap: expected ${width * height} values for ${height}x${width}, at least one, ` +
        `got ${values.length}; check the map.`,
    );
  const all = Array.from(values);
  const min = range?.[0] ?? all.reduce((a, b) => Math.min(a, b));
  const max = range?.[1] ?? all.reduce((a, b) => Math.max(a, b));
  const scale = (value: number) => (max > min ? Math.min(Math.max((value - min) / (max - min), 0), 1) : 0);
  editPixels(context, (pixels) => {
    for (let y = 0, at = 0; y < pixels.height; y++) {
      for (let x = 0; x < pixels.width; x++, at += 4) {
        const value = scale(valueAt(map, x, y, pixels));
        blend(pixels.data, at, viridis(value), alpha * (1 / 3 + (2 / 3) * value));
      }
    }
  });
}
