import * as tf from '@tensorflow/tfjs-core';

/** Whether a tensor holds NaN or Infinity. */
const isSpoiled = (tensor: tf.Tensor): boolean => tf.tidy(() => !Number.isFinite(tf.sum(tf.abs(tensor)).dataSync()[0]!));

/**
 * The first place with NaN or Infinity: among the tensors given, and then along a forward that tells what it computes.
 *
 * @param forward called once; it calls `observe` for what it computes, in order
 */
export function findNotFinite(tensors: Iterable<{ readonly path: string; readonly variable: tf.Tensor }>, forward?: (observe: (path: string, tensor: tf.Tensor) => void) => tf.Tensor): string {
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
