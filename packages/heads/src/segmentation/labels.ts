import type * as tf from '@tensorflow/tfjs-core';
import { PvtError, ShapeError } from '@pvt/core';

/** The best class of every pixel of a picture. */
export interface LabelMap {
  readonly width: number;
  readonly height: number;
  /** Row-major indices of classes. */
  readonly labels: Uint16Array;
  /** Softmax probability of each pixel's class, where asked for. */
  readonly scores?: Float32Array;
}

/** Source positions and weights of every target position along an axis. */
type Taps = readonly (readonly { readonly index: number; readonly weight: number }[])[];

/** Bilinear interpolation without aligned corners, as PyTorch's `interpolate` and core's `resample` weigh it. */
const bilinear = (from: number, to: number): Taps =>
  Array.from({ length: to }, (_, i) => {
    const position = Math.max(((i + 0.5) * from) / to - 0.5, 0);
    const index = Math.min(Math.floor(position), from - 1);
    const weight = index === from - 1 ? 0 : position - index;
    return weight === 0 ? [{ index, weight: 1 }] : [{ index, weight: 1 - weight }, { index: index + 1, weight }];
  });

/** One step's taps seen through the steps before. */
const through = (before: Taps, step: Taps): Taps =>
  step.map((taps) => {
    const sums = new Map<number, number>();
    for (const outer of taps) {
      for (const { index, weight } of before[outer.index]!) sums.set(index, (sums.get(index) ?? 0) + outer.weight * weight);
    }
    return Array.from(sums, ([index, weight]) => ({ index, weight }));
  });

const tapsOf = (from: number, sizes: readonly number[]): Taps =>
  [from, ...sizes].slice(1).reduce<Taps>((taps, to) => through(taps, bilinear(taps.length, to)), Array.from({ length: from }, (_, index) => [{ index, weight: 1 }]));

/**
 * The best class of every pixel after bilinear upsampling through `sizes` in turn (mmsegmentation goes by way of the
 * model's input). Row by row, so that 150 classes of a large picture never stand in memory at once. The logits are borrowed.
 *
 * @param logits [B, h, w, classes]
 * @param sizes each [height, width]; the last is the result's. None keeps the logits' own
 * @throws ShapeError for a size that is not positive, PvtError `scores-nan` where a logit is no number
 * @example
 * const [map] = await labelMaps(logits, [[512, 683], [960, 1280]]);
 */
export async function labelMaps(logits: tf.Tensor4D, sizes: readonly (readonly [height: number, width: number])[] = [], { scores = false } = {}): Promise<LabelMap[]> {
  const [batch, rows, columns, classes] = logits.shape;
  for (const size of sizes) {
    if (!size.every((side) => Number.isSafeInteger(side) && side > 0)) throw new ShapeError('size-invalid', `labelMaps: expected a size [height, width] of positive integers, got [${size}]; pass whole pixels.`);
  }
  const vertical = tapsOf(rows, sizes.map(([height]) => height));
  const horizontal = tapsOf(columns, sizes.map(([, width]) => width));
  const values = (await logits.data()) as Float32Array;
  const size = values.length / batch;
  return Array.from({ length: batch }, (_, i) => labelOne(values.subarray(i * size, (i + 1) * size), classes, columns, vertical, horizontal, scores));
}

function labelOne(values: Float32Array, classes: number, columns: number, vertical: Taps, horizontal: Taps, withScores: boolean): LabelMap {
  const [height, width] = [vertical.length, horizontal.length];
  const labels = new Uint16Array(height * width);
  const scores = withScores ? new Float32Array(height * width) : undefined;
  /** Source rows at the target's width, as long as the target rows below may need them. */
  const wide = new Map<number, Float64Array>();
  const widened = (row: number): Float64Array => {
    const known = wide.get(row);
    if (known !== undefined) return known;
    const result = new Float64Array(width * classes);
    for (const [x, taps] of horizontal.entries()) {
      for (const { index, weight } of taps) {
        const from = (row * columns + index) * classes;
        for (let k = 0; k < classes; k++) result[x * classes + k]! += weight * values[from + k]!;
      }
    }
    wide.set(row, result);
    return result;
  };
  const blended = new Float64Array(width * classes);
  for (const [y, taps] of vertical.entries()) {
    const first = Math.min(...taps.map(({ index }) => index));
    for (const row of wide.keys()) if (row < first) wide.delete(row);
    blended.fill(0);
    for (const { index, weight } of taps) {
      const row = widened(index);
      for (let i = 0; i < blended.length; i++) blended[i]! += weight * row[i]!;
    }
    for (let x = 0; x < width; x++) {
      const start = x * classes;
      let best = start;
      for (let i = start + 1; i < start + classes; i++) if (blended[i]! > blended[best]!) best = i;
      let sum = 0;
      if (scores !== undefined) for (let i = start; i < start + classes; i++) sum += Math.exp(blended[i]! - blended[best]!);
      if (Number.isNaN(blended[best]!) || Number.isNaN(sum)) {
        throw new PvtError('scores-nan', `labelMaps: expected logits that are numbers, got NaN at row ${y}, column ${x}; look for NaN in the input or the checkpoint.`);
      }
      labels[y * width + x] = best - start;
      if (scores !== undefined) scores[y * width + x] = 1 / sum;
    }
  }
  return { width, height, labels, ...(scores && { scores }) };
}
