import type * as tf from '@tensorflow/tfjs-core';
import { PvtError, ShapeError, type LabelMap, type Size } from '@pvt/core';

/** Source positions and weights of every target position along an axis. */
type Taps = readonly (readonly { readonly index: number; readonly weight: number }[])[];

/** Bilinear interpolation without aligned corners, as PyTorch's `interpolate` and core's `resample` weigh it. */
const bilinear = (from: number, to: number): Taps =>
  Array.from({ length: to }, (_, i) => {
    const position = Math.max(((i + 0.5) * from) / to - 0.5, 0);
    const index = Math.min(Math.floor(position), from - 1);
    const weight = index === from - 1 ? 0 : position - index;
    return weight === 0
      ? [{ index, weight: 1 }]
      : [
          { index, weight: 1 - weight },
          { index: index + 1, weight },
        ];
  });

/** One step's taps seen through the steps before. */
const through = (before: Taps, step: Taps): Taps =>
  step.map((taps) => {
    const sums = new Map<number, number>();
    for (const outer of taps) {
      for (const { index, weight } of before[outer.index]!)
        sums.set(index, (sums.get(index) ?? 0) + outer.weight * weight);
    }
    return Array.from(sums, ([index, weight]) => ({ index, weight }));
  });

/** Taps through `sizes` in turn, of which only the first `content` positions of the first go on. */
const tapsOf = (from: number, sizes: readonly number[], content = Infinity): Taps =>
  sizes.reduce<Taps>(
    (taps, to, step) => {
      const visible = step === 1 ? taps.slice(0, content) : taps;
      return through(visible, bilinear(visible.length, to));
    },
    Array.from({ length: from }, (_, index) => [{ index, weight: 1 }]),
  );

/**
 * The best class of every pixel after bilinear upsampling through `sizes` in turn (mmsegmentation goes by way of the
 * model's input). 150 classes of a large image never stand in memory at once. The logits are borrowed.
 *
 * @param logits [B, h, w, classes]
 * @param sizes each [height, width]; the last is the result's. None keeps the logits' own
 * @param contentSize upper left part of the first size that shows the image, if the rest is padding
 * @throws ShapeError for a size that is not positive, PvtError `scores-nan` where a logit is no number
 * @example
 * const [map] = await labelMaps(logits, [[512, 683], [960, 1280]]);
 */
export async function labelMaps(
  logits: tf.Tensor4D,
  sizes: readonly (readonly [height: number, width: number])[] = [],
  { scores = false, contentSize }: { readonly scores?: boolean; readonly contentSize?: Size } = {},
): Promise<LabelMap[]> {
  const [batch, rows, columns, classes] = logits.shape;
  for (const size of sizes) {
    if (!size.every((side) => Number.isSafeInteger(side) && side > 0))
      throw new ShapeError(
        'size-invalid',
        `labelMaps: expected a size [height, width] of positive integers, got [${size}]; pass whole pixels.`,
      );
  }
  const vertical = tapsOf(
    rows,
    sizes.map(([height]) => height),
    contentSize?.[0],
  );
  const horizontal = tapsOf(
    columns,
    sizes.map(([, width]) => width),
    contentSize?.[1],
  );
  const values = (await logits.data()) as Float32Array;
  const size = values.length / batch;
  return Array.from({ length: batch }, (_, i) =>
    labelOne(values.subarray(i * size, (i + 1) * size), classes, columns, vertical, horizontal, scores),
  );
}

/** Neighbouring target positions that see the same source positions, with the weights of each. */
interface Run {
  readonly start: number;
  readonly sources: readonly number[];
  readonly weights: number[][];
}

function runsOf(taps: Taps): Run[] {
  const runs: Run[] = [];
  for (const [start, some] of taps.entries()) {
    const sources = some.map(({ index }) => index);
    const last = runs.at(-1);
    const weights = some.map(({ weight }) => weight);
    if (last !== undefined && last.sources.join() === sources.join()) last.weights.push(weights);
    else runs.push({ start, sources, weights: [weights] });
  }
  return runs;
}

/**
 * A block of pixels at a time that see the same corners. Each pixel is a mean of the corners, so a class whose best
 * corner is below another one's worst cannot win anywhere in the block: of 150 classes few are left to be compared.
 */
function labelOne(
  values: Float32Array,
  classes: number,
  columns: number,
  vertical: Taps,
  horizontal: Taps,
  withScores: boolean,
): LabelMap {
  const [height, width] = [vertical.length, horizontal.length];
  const labels = new Uint16Array(height * width);
  const scores = withScores ? new Float32Array(height * width) : undefined;
  const across = runsOf(horizontal);
  const candidates = new Int32Array(classes);
  const tops = new Float64Array(classes);
  /** Of each candidate, the corners' columns at the row in hand. */
  const sides = new Float64Array(classes * Math.max(...across.map(({ sources }) => sources.length)));
  for (const down of runsOf(vertical)) {
    for (const along of across) {
      const wide = along.sources.length;
      const corners = down.sources.flatMap((row) =>
        along.sources.map((column) => (row * columns + column) * classes),
      );
      const count = contenders(values, classes, corners, withScores, tops, candidates);
      for (let j = 0; j < down.weights.length; j++) {
        const start = (down.start + j) * width + along.start;
        if (count === 1) {
          labels.fill(candidates[0]!, start, start + along.weights.length);
          scores?.fill(1, start, start + along.weights.length);
          continue;
        }
        const rowWeights = down.weights[j]!;
        for (let k = 0, side = 0; k < count; k++) {
          for (let column = 0; column < wide; column++, side++) {
            sides[side] = 0;
            for (let row = 0; row < rowWeights.length; row++)
              sides[side]! += rowWeights[row]! * values[corners[row * wide + column]! + candidates[k]!]!;
          }
        }
        for (let i = 0; i < along.weights.length; i++) {
          const weights = along.weights[i]!;
          let best = 0;
          let most = -Infinity;
          let sum = 0;
          for (let k = 0, side = 0; k < count; k++) {
            let value = 0;
            for (let column = 0; column < wide; column++) value += weights[column]! * sides[side++]!;
            // The softmax's sum, kept relative to the largest value so far.
            if (scores !== undefined)
              sum = value > most ? sum * Math.exp(most - value) + 1 : sum + Math.exp(value - most);
            if (value > most) {
              best = k;
              most = value;
            }
          }
          labels[start + i] = candidates[best]!;
          if (scores !== undefined) scores[start + i] = 1 / sum;
        }
      }
    }
  }
  return { width, height, labels, ...(scores && { scores }) };
}

/** Fills in the classes that can be the best somewhere between the corners, in order, or all; returns how many. */
function contenders(
  values: Float32Array,
  classes: number,
  corners: readonly number[],
  all: boolean,
  tops: Float64Array,
  candidates: Int32Array,
): number {
  let bar = -Infinity;
  let valid = true;
  for (let k = 0; k < classes; k++) {
    let low = Infinity;
    let high = -Infinity;
    for (let c = 0; c < corners.length; c++) {
      const value = values[corners[c]! + k]!;
      if (value !== value) valid = false;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (low > bar) bar = low;
    tops[k] = high;
  }
  if (!valid)
    throw new PvtError(
      'scores-nan',
      'labelMaps: expected logits that are numbers, got NaN; look for NaN in the input or the checkpoint.',
    );
  let count = 0;
  for (let k = 0; k < classes; k++) if (all || tops[k]! >= bar) candidates[count++] = k;
  return count;
}
