import * as tf from '@tensorflow/tfjs-core';
import type { Activation } from '../config.ts';
import { fused } from './fused.ts';
import { pipe } from './pipe.ts';

/** Standard normal distribution function, Φ(x) = (1 + erf(x/√2)) / 2. */
const normalDistribution = <T extends tf.Tensor>(x: T): T =>
  pipe(
    x,
    (t: T) => tf.mul(t, Math.SQRT1_2),
    tf.erf,
    (t: T) => tf.add(t, 1),
    (t: T) => tf.mul(t, 0.5),
  );

/**
 * Exact GELU, x·Φ(x) (Hendrycks and Gimpel, arXiv:1606.08415), with its own gradient Φ(x) + x·φ(x).
 *
 * @param x float32, any shape
 * @example
 * gelu(tf.tensor1d([-1, 0, 1])).print(); // [-0.1587, 0, 0.8413]
 */
export function gelu<T extends tf.Tensor>(x: T): T {
  const quick = fused<T>('PvtGelu', { x });
  if (quick !== undefined) return quick;
  const compute = tf.customGrad((input, save) => {
    const t = input as tf.Tensor;
    (save as tf.GradSaveFunc)([t]);
    const value = pipe(t, normalDistribution, (distribution: tf.Tensor) => tf.mul(t, distribution));
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const x = saved[0]!;
      const density = pipe(
        x,
        tf.square,
        (t: tf.Tensor) => tf.mul(t, -0.5),
        tf.exp,
        (t: tf.Tensor) => tf.mul(t, 1 / Math.sqrt(2 * Math.PI)),
      );
      return tf.mul(dy, tf.add(normalDistribution(x), tf.mul(x, density)));
    };
    return { value, gradFunc };
  });
  return compute(x) as T;
}

/** GELU by its tanh approximation, as some checkpoints of other families use it; up to 5e-4 from the exact one. */
function geluTanh<T extends tf.Tensor>(x: T): T {
  const inner = pipe(
    x,
    tf.square,
    (t: T) => tf.mul(t, 0.044715),
    (t: T) => tf.add(t, 1),
    (t: T) => tf.mul(t, x),
    (t: T) => tf.mul(t, Math.sqrt(2 / Math.PI)),
    tf.tanh,
  );
  return pipe(
    inner,
    (t: T) => tf.add(t, 1),
    (t: T) => tf.mul(t, x),
    (t: T) => tf.mul(t, 0.5),
  );
}

/** The function of each name that a config's `activation` may have. */
export const activationFunctions: Record<Activation, <T extends tf.Tensor>(x: T) => T> = {
  gelu,
  gelu_tanh: (x) => tf.tidy(() => geluTanh(x)),
  relu: tf.relu,
  silu: (x) => pipe(x, tf.sigmoid, (t: tf.Tensor) => tf.mul(t, x)),
};
