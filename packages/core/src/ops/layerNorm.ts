import * as tf from '@tensorflow/tfjs-core';
import { customGradient } from './customGradient.ts';
import { fused } from './fused.ts';
import { pipe } from './pipe.ts';
import { sumOfRows } from './product.ts';

/**
 * Layer normalization over the last axis (Ba et al., arXiv:1607.06450) with biased variance, as PyTorch
 * computes it, with its own gradient.
 *
 * @param x float32 [..., C]
 * @param weight [C]
 * @param bias [C]
 * @param eps added to the variance
 * @example
 * const y = layerNorm(tokens, tf.ones([64]), tf.zeros([64]), 1e-6);
 */
export function layerNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor1D, bias: tf.Tensor1D, eps: number): T {
  return fused<T>('PvtLayerNorm', { x, weight, bias }, { eps }) ?? portableLayerNorm<T>(x, weight, bias, eps);
}

const portableLayerNorm = <T extends tf.Tensor>(
  x: tf.Tensor,
  weight: tf.Tensor1D,
  bias: tf.Tensor1D,
  eps: number,
): T =>
  customGradient([x, weight, bias], (save) => {
    const centered = pipe(
      x,
      (t) => tf.mean(t, -1, true),
      (mean) => tf.sub(x, mean),
    );
    const inverse = pipe(
      centered,
      tf.square,
      (t) => tf.mean(t, -1, true),
      (t) => tf.add(t, eps),
      tf.rsqrt,
    );
    const normalized = tf.mul(centered, inverse);
    centered.dispose();
    save([normalized, inverse, weight]);
    const value = pipe(
      normalized,
      (t) => tf.mul(t, weight),
      (t) => tf.add<T>(t, bias),
    );
    normalized.dispose();
    return { value, gradFunc: layerNormGradient };
  });

function layerNormGradient(dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] {
  const [normalized, inverse, weight] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
  const scaled = tf.mul(dy, weight);
  const along = tf.mul(normalized, tf.mean(tf.mul(scaled, normalized), -1, true));
  const dx = tf.mul(inverse, tf.sub(tf.sub(scaled, tf.mean(scaled, -1, true)), along));
  return [dx, sumOfRows(tf.mul(dy, normalized)), sumOfRows(dy)];
}
