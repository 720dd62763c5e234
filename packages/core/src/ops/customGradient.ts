import * as tf from '@tensorflow/tfjs-core';

/**
 * A value and how its gradient flows back: from its own gradient `dy` and the saved tensors, one for each
 * input.
 */
export interface WithGradient<Y extends tf.Tensor> {
  readonly value: Y;
  readonly gradFunc: (dy: Y, saved: tf.Tensor[]) => tf.Tensor | tf.Tensor[];
}

/**
 * `tf.customGrad` with a typed result and optional inputs.
 *
 * @param inputs of the gradient; those that are undefined have none
 * @param compute saves what the backward pass needs
 */
export function customGradient<Y extends tf.Tensor>(
  inputs: readonly (tf.Tensor | undefined)[],
  compute: (save: tf.GradSaveFunc) => WithGradient<Y>,
): Y {
  // tfjs calls the function with the inputs, and the function that saves tensors comes last.
  const run = tf.customGrad<Y>((...args) => compute(args.at(-1) as tf.GradSaveFunc));
  return run(...inputs.filter((input) => input !== undefined));
}
