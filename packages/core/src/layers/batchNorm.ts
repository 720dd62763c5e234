import * as tf from '@tensorflow/tfjs-core';
import { customGradient } from '../ops/customGradient.ts';
import type { ForwardContext } from '../ops/dropout.ts';
import { pipe } from '../ops/pipe.ts';
import { sumOfRows } from '../ops/product.ts';
import { perChannel, type ParamSpec, type ParamsOf } from '../params/spec.ts';

/** BatchNorm's scale and shift and its running statistics, named as in PyTorch's `BatchNorm2d`. */
export const batchNormSpec = (channels: number) => ({
  weight: perChannel(channels, 1),
  bias: perChannel(channels, 0),
  running_mean: { ...perChannel(channels, 0), buffer: true } as ParamSpec<tf.Tensor1D>,
  running_var: { ...perChannel(channels, 1), buffer: true } as ParamSpec<tf.Tensor1D>,
});

/** Share of a new batch in the running statistics, PyTorch's default. */
const momentum = 0.1;

/**
 * Batch normalization over all axes but the last (Ioffe and Szegedy, arXiv:1502.03167), as PyTorch's
 * `BatchNorm2d`: by the running statistics, or in training by the batch's own, which also update the running
 * ones.
 *
 * @param x [B, H, W, C]
 * @param eps added to the variance
 * @returns [B, H, W, C]
 * @example
 * const y = batchNorm(map, params.bn, 1e-5, { training: false });
 */
export function batchNorm(
  x: tf.Tensor4D,
  params: ParamsOf<typeof batchNormSpec>,
  eps: number,
  context: ForwardContext,
): tf.Tensor4D {
  const { weight, bias, running_mean, running_var } = params;
  if (context.training) return normalizeByBatch(x, params, eps);
  return tf.tidy(() => {
    const scale = tf.mul(weight, tf.rsqrt(tf.add(running_var, eps)));
    // One product and one sum over the map.
    return pipe(
      x,
      (t) => tf.mul<tf.Tensor4D>(t, scale),
      (t) => tf.add<tf.Tensor4D>(t, tf.sub(bias, tf.mul(running_mean, scale))),
    );
  });
}

/** Has a gradient of its own: tfjs's, through two means, would broadcast over the whole map several times. */
function normalizeByBatch(x: tf.Tensor4D, params: ParamsOf<typeof batchNormSpec>, eps: number): tf.Tensor4D {
  const { weight, bias } = params;
  const rows = x.size / x.shape[3];
  return customGradient([x, weight, bias], (save) => {
    const mean: tf.Tensor1D = tf.div(sumOfRows(x), rows);
    const centered = tf.sub(x, mean);
    const variance: tf.Tensor1D = tf.div(sumOfRows(tf.square(centered)), rows);
    updateRunningStats(params, mean, variance, rows);
    const inverse = tf.rsqrt(tf.add(variance, eps));
    const normalized = tf.mul(centered, inverse);
    save([normalized, inverse, weight]);
    return {
      value: tf.add<tf.Tensor4D>(tf.mul(normalized, weight), bias),
      gradFunc(dy, saved) {
        const [normalized, inverse, weight] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
        const [dBias, dWeight] = [sumOfRows(dy), sumOfRows(tf.mul(dy, normalized))];
        // The statistics depend on x: subtract dy's mean, and its projection on the normalized values.
        const projected = tf.mul(normalized, tf.div(dWeight, rows));
        const centeredGradient = tf.sub(tf.sub(dy, tf.div(dBias, rows)), projected);
        return [tf.mul(centeredGradient, tf.mul(weight, inverse)), dWeight, dBias];
      },
    };
  });
}

/** Moves the running statistics towards a batch's; the running variance is the unbiased one. */
function updateRunningStats(
  { running_mean, running_var }: ParamsOf<typeof batchNormSpec>,
  mean: tf.Tensor1D,
  variance: tf.Tensor1D,
  count: number,
): void {
  const blend = (running: tf.Tensor1D, value: tf.Tensor1D) =>
    (running as tf.Variable).assign(tf.add(tf.mul(running, 1 - momentum), tf.mul(value, momentum)));
  blend(running_mean, mean);
  blend(running_var, tf.mul(variance, count / Math.max(1, count - 1)));
}
