import * as tf from '@tensorflow/tfjs-core';

/** Whether a tensor holds NaN or Infinity. */
const isNonFinite = (tensor: tf.Tensor): boolean =>
  tf.tidy(() => tf.all(tf.isFinite(tensor)).dataSync()[0] === 0);

/**
 * The first place with NaN or Infinity: among the given tensors, then along a forward that reports what it
 * computes.
 *
 * @param forward called once; calls `observe` for what it computes, in order
 */
export function findNonFinite(
  tensors: Iterable<{ readonly path: string; readonly variable: tf.Tensor }>,
  forward?: (observe: (path: string, tensor: tf.Tensor) => void) => tf.Tensor,
): string {
  for (const { path, variable } of tensors) if (isNonFinite(variable)) return path;
  let [found, last]: (string | undefined)[] = [];
  tf.tidy(() => {
    forward?.((path, tensor) => {
      if (found === undefined && isNonFinite(tensor)) found = path;
      last = path;
    });
  });
  return found ?? (last === undefined ? 'the loss' : `what follows ${last}`);
}

/**
 * A backward pass goes from the last layer to the first, so the last parameter with a non-finite gradient had
 * it first.
 */
export function firstNonFiniteGradient(gradients: ReadonlyMap<string, Float32Array>): string {
  const nonFinite = [...gradients].filter(([, values]) => values.some((value) => !Number.isFinite(value)));
  return nonFinite.length === 0 ? 'the sum of their squares' : `the gradient of ${nonFinite.at(-1)![0]}`;
}
