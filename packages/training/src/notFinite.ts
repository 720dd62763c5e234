import * as tf from '@tensorflow/tfjs-core';

/** Whether a tensor holds NaN or Infinity. */
const isSpoiled = (tensor: tf.Tensor): boolean =>
  tf.tidy(() => tf.all(tf.isFinite(tensor)).dataSync()[0] === 0);

/**
 * The first place with NaN or Infinity: among the tensors given, and then along a forward that tells what it computes.
 *
 * @param forward called once; it calls `observe` for what it computes, in order
 */
export function findNotFinite(
  tensors: Iterable<{ readonly path: string; readonly variable: tf.Tensor }>,
  forward?: (observe: (path: string, tensor: tf.Tensor) => void) => tf.Tensor,
): string {
  for (const { path, variable } of tensors) if (isSpoiled(variable)) return path;
  let [found, last]: (string | undefined)[] = [];
  tf.tidy(() => {
    forward?.((path, tensor) => {
      if (found === undefined && isSpoiled(tensor)) found = path;
      last = path;
    });
  });
  return found ?? (last === undefined ? 'the loss' : `what follows ${last}`);
}

/** Backward passes go from the last layer to the first, so the last parameter with a spoiled gradient had it first. */
export function firstNonFiniteGradient(gradients: ReadonlyMap<string, Float32Array>): string {
  const spoiled = [...gradients].filter(([, values]) => values.some((value) => !Number.isFinite(value)));
  return spoiled.length === 0 ? 'the sum of their squares' : `the gradient of ${spoiled.at(-1)![0]}`;
}
