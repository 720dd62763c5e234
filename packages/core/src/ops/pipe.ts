import type * as tf from '@tensorflow/tfjs-core';

/**
 * Applies functions one after another and frees every intermediate as soon as the next one exists. The input is
 * borrowed, the last result belongs to the caller. This is what keeps a forward's peak memory at a few maps: a
 * `tf.tidy` around the same calls would hold all of them.
 *
 * @example
 * const y = pipe(x, (t) => linear(t, fc1), gelu, (t) => linear(t, fc2));
 */
export function pipe<T extends tf.Tensor>(input: tf.Tensor, ...steps: ((x: never) => tf.Tensor)[]): T {
  let current = input;
  for (const step of steps) {
    const next = step(current as never);
    if (current !== input && current !== next) current.dispose();
    current = next;
  }
  return current as T;
}
