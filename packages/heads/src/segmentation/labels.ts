import type * as tf from '@tensorflow/tfjs-core';
import { PvtError, ShapeError, type LabelMap, type Size } from '@pvt/core';

/**
 * Of every target position along an axis, the source positions that it is interpolated from, with their
 * weights.
 */
type Interpolation = readonly (readonly { readonly index: number; readonly weight: number }[])[];

/** Bilinear interpolation without aligned corners, as in PyTorch's `interpolate` and core's `resample`. */
const bilinear = (from: number, to: number): Interpolation =>
  Array.from({ length: to }, (_, i) => {
    const position = Math.max(((i + 0.5) * from) / to - 0.5, 0);
    const index = Math.min(Math.floor(position), from - 1);
    const weight = index === from - 1 ? 0 : position - index;
    if (weight === 0) return [{ index, weight: 1 }];
    return [
      { index, weight: 1 - weight },
      { index: index + 1, weight },
    ];
  });

/** One interpolation after another, as one. */
const compose = (first: Interpolation, second: Interpolation): Interpolation =>
  second.map((sources) => {
    const weights = new Map<number, number>();
    for (const outer of sources) {
      for (const { index, weight } of first[outer.index]!)
        weights.set(index, (weights.get(index) ?? 0) + outer.weight * weight);
    }
    return Array.from(weights, ([index, weight]) => ({ index, weight }));
  });

/**
 * Interpolation along an axis through several sizes in turn. Of the first size, only the first `content`
 * positions are used.
 */
function interpolateThrough(from: number, sizes: readonly number[], content = Infinity): Interpolation {
  let interpolation: Interpolation = Array.from({ length: from }, (_, index) => [{ index, weight: 1 }]);
  for (const [step, to] of sizes.entries()) {
    const visible = step === 1 ? interpolation.slice(0, content) : interpolation;
    interpolation = compose(visible, bilinear(visible.length, to));
  }
  return interpolation;
}

/**
 * The best class of every pixel after bilinear upsampling through `sizes` in turn (mmsegmentation upsamples
 * to the model's input first). The logits of all classes at full size are never in memory at once. The logits
 * are borrowed.
 *
 * @param logits [B, h, w, classes]
 * @param sizes each [height, width]; the last is the result's. Default: the logits' own.
 * @param options `scores`: whether to return each pixel's softmax probability too; `contentSize`: upper left
 *   part of the first size that shows the image, if the rest is padding
 * @throws ShapeError for a size that is not positive, PvtError `scores-nan` if a logit is NaN
 * @example
 * const [map] = await labelMaps(logits, [[512, 683], [960, 1280]]);
 */
export async function labelMaps(
  logits: tf.Tensor4D,
  sizes: readonly Size[] = [],
  { scores = false, contentSize }: { readonly scores?: boolean; readonly contentSize?: Size } = {},
): Promise<LabelMap[]> {
  const [batch, rows, columns, classes] = logits.shape;
  for (const size of sizes) {
    if (size.every((side) => Number.isSafeInteger(side) && side > 0)) continue;
    throw new ShapeError(
      'size-invalid',
      `labelMaps: expected a size [height, width] of positive integers, got [${size}]; pass whole pixels.`,
    );
  }
  const heights = sizes.map(([height]) => height);
  const widths = sizes.map(([, width]) => width);
  const vertical = interpolateThrough(rows, heights, contentSize?.[0]);
  const horizontal = interpolateThrough(columns, widths, contentSize?.[1]);
  const values = (await logits.data()) as Float32Array;
  const size = values.length / batch;
  return Array.from({ length: batch }, (_, i) =>
    labelImage(
      { values: values.subarray(i * size, (i + 1) * size), columns, classes },
      vertical,
      horizontal,
      scores,
    ),
  );
}

/** One image's logits [h, w, classes], row-major. */
interface Logits {
  readonly values: Float32Array;
  readonly columns: number;
  readonly classes: number;
}

/**
 * Neighboring target positions that are interpolated from the same source positions, with the weights of
 * each.
 */
interface Run {
  readonly start: number;
  readonly sources: readonly number[];
  readonly weights: number[][];
}

function runsOf(interpolation: Interpolation): Run[] {
  const runs: Run[] = [];
  for (const [start, position] of interpolation.entries()) {
    const sources = position.map(({ index }) => index);
    const weights = position.map(({ weight }) => weight);
    const last = runs.at(-1);
    if (last !== undefined && last.sources.join() === sources.join()) last.weights.push(weights);
    else runs.push({ start, sources, weights: [weights] });
  }
  return runs;
}

/**
 * Labels a block of pixels at a time that are interpolated from the same corners. Each pixel is a weighted
 * mean of the corners, so a class whose largest corner is below another one's smallest cannot win anywhere in
 * the block: of 150 classes, few are left to be compared.
 */
function labelImage(
  logits: Logits,
  vertical: Interpolation,
  horizontal: Interpolation,
  withScores: boolean,
): LabelMap {
  const { columns, classes } = logits;
  const [height, width] = [vertical.length, horizontal.length];
  const map: LabelMap = {
    width,
    height,
    labels: new Uint16Array(height * width),
    ...(withScores && { scores: new Float32Array(height * width) }),
  };
  const acrossRuns = runsOf(horizontal);
  const mostColumns = Math.max(...acrossRuns.map(({ sources }) => sources.length));
  const scratch: Scratch = {
    candidates: new Int32Array(classes),
    maxima: new Float64Array(classes),
    columnValues: new Float64Array(classes * mostColumns),
  };
  for (const down of runsOf(vertical)) {
    for (const across of acrossRuns) {
      const corners = down.sources.flatMap((row) =>
        across.sources.map((column) => (row * columns + column) * classes),
      );
      const count = selectCandidates(logits, corners, withScores, scratch);
      labelBlock(logits, corners, down, across, count, scratch, map);
    }
  }
  return map;
}

/** Memory that all blocks share. */
interface Scratch {
  /** Classes that can win in a block, in order. */
  readonly candidates: Int32Array;
  /** Of each class, the largest corner. */
  readonly maxima: Float64Array;
  /** Of each candidate, the corners' columns interpolated to a row. */
  readonly columnValues: Float64Array;
}

function labelBlock(
  logits: Logits,
  corners: readonly number[],
  down: Run,
  across: Run,
  count: number,
  scratch: Scratch,
  map: LabelMap,
): void {
  for (let j = 0; j < down.weights.length; j++) {
    const start = (down.start + j) * map.width + across.start;
    if (count === 1) {
      const end = start + across.weights.length;
      map.labels.fill(scratch.candidates[0]!, start, end);
      map.scores?.fill(1, start, end);
      continue;
    }
    interpolateRow(logits, corners, down.weights[j]!, across.sources.length, count, scratch);
    labelRow(across, start, count, scratch, map);
  }
}

/** Fills in each candidate's corner columns at a row. */
function interpolateRow(
  { values }: Logits,
  corners: readonly number[],
  rowWeights: readonly number[],
  width: number,
  count: number,
  { candidates, columnValues }: Scratch,
): void {
  for (let k = 0, i = 0; k < count; k++) {
    for (let column = 0; column < width; column++, i++) {
      columnValues[i] = 0;
      for (let row = 0; row < rowWeights.length; row++)
        columnValues[i]! += rowWeights[row]! * values[corners[row * width + column]! + candidates[k]!]!;
    }
  }
}

/** Labels the pixels of a block's row. */
function labelRow(
  across: Run,
  start: number,
  count: number,
  { candidates, columnValues }: Scratch,
  { labels, scores }: LabelMap,
): void {
  const width = across.sources.length;
  for (let i = 0; i < across.weights.length; i++) {
    const weights = across.weights[i]!;
    let best = 0;
    let max = -Infinity;
    let sum = 0;
    for (let k = 0, side = 0; k < count; k++) {
      let value = 0;
      for (let column = 0; column < width; column++) value += weights[column]! * columnValues[side++]!;
      // The softmax's sum, relative to the largest value so far.
      if (scores !== undefined)
        sum = value > max ? sum * Math.exp(max - value) + 1 : sum + Math.exp(value - max);
      if (value > max) {
        best = k;
        max = value;
      }
    }
    labels[start + i] = candidates[best]!;
    if (scores !== undefined) scores[start + i] = 1 / sum;
  }
}

/**
 * Fills in the classes that can be the best somewhere between the corners, in order, or all; returns how
 * many.
 *
 * @throws PvtError `scores-nan` if a logit is NaN
 */
function selectCandidates(
  { values, classes }: Logits,
  corners: readonly number[],
  all: boolean,
  { maxima, candidates }: Scratch,
): number {
  let largestMin = -Infinity;
  let hasNaN = false;
  for (let k = 0; k < classes; k++) {
    let min = Infinity;
    let max = -Infinity;
    for (let c = 0; c < corners.length; c++) {
      const value = values[corners[c]! + k]!;
      if (value !== value) hasNaN = true;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    if (min > largestMin) largestMin = min;
    maxima[k] = max;
  }
  if (hasNaN) {
    throw new PvtError(
      'scores-nan',
      'labelMaps: expected logits that are numbers, got NaN; look for NaN in the input or the checkpoint.',
    );
  }
  let count = 0;
  for (let k = 0; k < classes; k++) if (all || maxima[k]! >= largestMin) candidates[count++] = k;
  return count;
}
