import * as tf from '@tensorflow/tfjs-core';
import { customGradient } from './customGradient.ts';

/*
 * Backends have their fast kernel for one product of two plain matrices: on wasm, transposing first and
 * multiplying afterwards is several times faster than a product that transposes its factors.
 */

/** aᵀ·b of [N, A] and [N, B]: [A, B]. */
export const innerProduct = (a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D =>
  tf.tidy(() => tf.matMul(tf.transpose(a), b));

/**
 * Sum over all axes but the last, as averages of averages: no backend has to transpose for it, none sums one
 * long row, and rounding grows with the square root of the number of rows.
 */
export const sumOfRows = (x: tf.Tensor): tf.Tensor1D =>
  tf.tidy(() => {
    const channels = x.shape[x.rank - 1]!;
    const rows = x.size / channels;
    const length = Math.ceil(Math.sqrt(rows));
    const count = Math.ceil(rows / length);
    const missing = count * length - rows;
    const flat = tf.reshape<tf.Rank.R2>(x, [rows, channels]);
    const pads: [number, number][] = [
      [0, missing],
      [0, 0],
    ];
    const full = missing === 0 ? flat : tf.pad(flat, pads);
    const image = tf.reshape<tf.Rank.R4>(full, [1, count, length, channels]);
    const means = tf.avgPool(image, [1, length], 1, 'valid');
    const mean = tf.avgPool(means, [count, 1], 1, 'valid');
    return tf.reshape<tf.Rank.R1>(tf.mul(mean, count * length), [channels]);
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
  return customGradient([a, b, bias], (save) => {
    save([a, b]);
    return {
      value: tf.fused.matMul({ a, b, ...(bias && { bias }) }) as tf.Tensor2D,
      gradFunc(dy, saved) {
        const [a, b] = saved as [tf.Tensor2D, tf.Tensor2D];
        return [tf.matMul(dy, tf.transpose(b)), innerProduct(a, dy), ...(bias ? [sumOfRows(dy)] : [])];
      },
    };
  });
}
