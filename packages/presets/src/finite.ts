import { CheckpointError, fromStateDict, type ParamSource, type StateDict } from '@pvt/core';
import type { LazyTensor } from './formats/lazyTensors.ts';

type Tensor = StateDict extends ReadonlyMap<string, infer T> ? T : never;

const isLazy = (tensor: Tensor | undefined): tensor is LazyTensor =>
  tensor !== undefined && 'readValues' in tensor;

/**
 * Whether all values are finite: just then their sum is, as a double holds 2^896 times the largest float32.
 * Four sums, because each addition waits for the one before; destructured, they would be boxed.
 */
function isFinite(values: Float32Array): boolean {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (const end = values.length - 3; i < end; i += 4) {
    a += values[i]!;
    b += values[i + 1]!;
    c += values[i + 2]!;
    d += values[i + 3]!;
  }
  for (; i < values.length; i++) a += values[i]!;
  return Number.isFinite(a + b + c + d);
}

/** Paths of the parameters with NaN or infinite values. */
export const nonFinitePaths = (state: StateDict): string[] =>
  Array.from(state).flatMap(([path, { values }]) => (isFinite(values) ? [] : [path]));

/** A source that refuses NaN and infinity, which would spread to everything that a model computes. */
export function finiteSource(state: StateDict): ParamSource {
  const source = fromStateDict(state);
  const checked = (path: string, values: Float32Array): Float32Array => {
    if (isFinite(values)) return values;
    throw new CheckpointError(
      'not-finite',
      `readCheckpoint: expected finite values in ${path}, got NaN or infinity; ` +
        'the training that wrote it diverged, use an earlier checkpoint.',
    );
  };
  return {
    shape: source.shape,
    values: (path, leaf) => checked(path, source.values(path, leaf)),
    readInto(path, leaf, target) {
      const tensor = state.get(path);
      return checked(path, isLazy(tensor) ? tensor.readValues(target) : source.values(path, leaf));
    },
  };
}
