import * as tf from '@tensorflow/tfjs-core';

/*
 * Backends have their fast kernel for one product of two plain matrices: transposing first and multiplying then is
 * several times faster on wasm than a product told to transpose.
 */

/** aᵀ·b of [N, A] and [N, B]: [A, B]. */
export const innerProduct = (a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D =>
  tf.tidy(() => tf.matMul(tf.transpose(a), b));

/**
 * Sum over all axes but the last, as averages of averages: no backend has to transpose for it, none sums a long row at a
 * time, and rounding grows with the square root of the number of rows.
 */
export const sumOfRows = (x: tf.Tensor): tf.Tensor1D =>
  tf.tidy(() => {
    const channels = x.shape[x.rank - 1]!;
    const rows = x.size / channels;
    const run = Math.ceil(Math.sqrt(rows));
    const runs = Math.ceil(rows / run);
    const flat = tf.reshape(x, [rows, channels]);
    const full =
      runs * run === rows
        ? flat
        : tf.pad(flat, [
            [0, runs * run - rows],
            [0, 0],
          ]);
    const means = tf.avgPool(tf.reshape(full, [1, runs, run, channels]) as tf.Tensor4D, [1, run], 1, 'valid');
    return tf.reshape(tf.mul(tf.avgPool(means, [runs, 1], 1, 'valid'), runs * run), [
      channels,
    ]) as tf.Tensor1D;
  });

/**
 * a·b + bias with a gradient of plain products.
 *
 * @param a [N, inputs]
 * @param b [inputs, outputs]
 * @param bias [outputs], or undefined
 * @returns [N, outputs]
 */
export function product(a: tf.Tensor2D, b: tf.Tensor2D, bias: tf.Tensor1D | undefined): tf.Tensor2D {
  const compute = tf.customGrad((...inputs) => {
    const save = inputs.pop() as unknown as tf.GradSaveFunc;
    const [a, b, bias] = inputs as [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D?];
    save([a, b]);
    const value = tf.fused.matMul({ a, b, ...(bias && { bias }) });
    const gradFunc = (slope: tf.Tensor, saved: tf.Tensor[]) => {
      const dy = slope as tf.Tensor2D;
      const [a, b] = saved as [tf.Tensor2D, tf.Tensor2D];
      return [tf.matMul(dy, tf.transpose(b)), innerProduct(a, dy), ...(bias ? [sumOfRows(dy)] : [])];
    };
    return { value, gradFunc };
  });
  return compute(a, b, ...(bias ? [bias] : [])) as tf.Tensor2D;
}
