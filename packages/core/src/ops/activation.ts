import * as tf from '@tensorflow/tfjs-core';
import type { Activation } from '../config.ts';
import { customGradient } from './customGradient.ts';
import { fused } from './fused.ts';
import { pipe } from './pipe.ts';

/** Standard normal distribution function, Φ(x) = (1 + erf(x/√2)) / 2. */
const normalDistribution = <T extends tf.Tensor>(x: T): T =>
  pipe(
    x,
    (t) => tf.mul(t, Math.SQRT1_2),
    tf.erf,
    (t) => tf.add(t, 1),
    (t) => tf.mul<T>(t, 0.5),
  );

/** Density of the standard normal distribution, φ(x) = exp(-x²/2) / √(2π). */
const normalDensity = (x: tf.Tensor): tf.Tensor =>
  pipe(
    x,
    tf.square,
    (t) => tf.mul(t, -0.5),
    tf.exp,
    (t) => tf.mul(t, 1 / Math.sqrt(2 * Math.PI)),
  );

/**
 * Exact GELU, x·Φ(x) (Hendrycks and Gimpel, arXiv:1606.08415), with its own gradient Φ(x) + x·φ(x).
 *
 * @param x float32, any shape
 * @example
 * gelu(tf.tensor1d([-1, 0, 1])).print(); // [-0.1587, 0, 0.8413]
 */
export function gelu<T extends tf.Tensor>(x: T): T {
  return fused<T>('PvtGelu', { x }) ?? portableGelu(x);
}

const portableGelu = <T extends tf.Tensor>(x: T): T =>
  customGradient([x], (save) => {
    save([x]);
    return {
      value: pipe(x, normalDistribution, (distribution) => tf.mul<T>(x, distribution)),
      gradFunc(dy, saved) {
        const x = saved[0]!;
        const density = normalDensity(x);
        return tf.mul(dy, tf.add(normalDistribution(x), tf.mul(x, density)));
      },
    };
  });

/** GELU in its tanh approximation, as some checkpoints of other families use it; differs by up to 5e-4. */
function geluTanh<T extends tf.Tensor>(x: T): T {
  const inner = pipe(
    x,
    tf.square,
    (t) => tf.mul(t, 0.044715),
    (t) => tf.add(t, 1),
    (t) => tf.mul(t, x),
    (t) => tf.mul(t, Math.sqrt(2 / Math.PI)),
    tf.tanh,
  );
  return pipe(
    inner,
    (t) => tf.add(t, 1),
    (t) => tf.mul(t, x),
    (t) => tf.mul<T>(t, 0.5),
  );
}

/** The function of each name that a config's `activation` may have. */
export const activationFunctions: Record<Activation, <T extends tf.Tensor>(x: T) => T> = {
  gelu,
  gelu_tanh: (x) => tf.tidy(() => geluTanh(x)),
  relu: tf.relu,
  silu: (x) => pipe(x, tf.sigmoid, (t) => tf.mul(t, x)),
};
