import * as tf from '@tensorflow/tfjs-core';
import type { ForwardContext } from '../ops/dropout.ts';
import { pipe } from '../ops/pipe.ts';
import { sumOfRows } from '../ops/product.ts';
import type { ParamSpec, ParamsOf } from '../params/spec.ts';

const perChannel = (channels: number, value: number) =>
  ({ shape: [channels], layout: 'plain', init: { kind: 'constant', value } }) as ParamSpec<tf.Tensor1D>;

/** BatchNorm's scale and shift and its running statistics, named as PyTorch's `BatchNorm2d`. */
export const batchNormSpec = (channels: number) => ({
  weight: perChannel(channels, 1),
  bias: perChannel(channels, 0),
  running_mean: { ...perChannel(channels, 0), buffer: true } as ParamSpec<tf.Tensor1D>,
  running_var: { ...perChannel(channels, 1), buffer: true } as ParamSpec<tf.Tensor1D>,
});

/** Share of a new batch in the running statistics, PyTorch's default. */
const momentum = 0.1;

/**
 * Batch normalisation over all axes but the last (Ioffe and Szegedy, arXiv:1502.03167) as PyTorch's `BatchNorm2d`: by the
 * running statistics, or while training by the batch's own, which the running ones then follow.
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
    return pipe<tf.Tensor4D>(
      x,
      (t: tf.Tensor4D) => tf.mul(t, scale),
      (t: tf.Tensor4D) => tf.add(t, tf.sub(bias, tf.mul(running_mean, scale))),
    );
  });
}

/** With a gradient of its own: that of two means would spread sums over the whole map, again and again. */
function normalizeByBatch(x: tf.Tensor4D, params: ParamsOf<typeof batchNormSpec>, eps: number): tf.Tensor4D {
  const rows = x.size / x.shape[3];
  const compute = tf.customGrad((...inputs) => {
    const [x, weight, bias, save] = inputs as unknown as [
      tf.Tensor4D,
      tf.Tensor1D,
      tf.Tensor1D,
      tf.GradSaveFunc,
    ];
    const mean = tf.div(sumOfRows(x), rows) as tf.Tensor1D;
    const centered = tf.sub(x, mean);
    const variance = tf.div(sumOfRows(tf.square(centered)), rows) as tf.Tensor1D;
    updateRunningStats(params, mean, variance, rows);
    const inverse = tf.rsqrt(tf.add(variance, eps));
    const normalized = tf.mul(centered, inverse);
    save([normalized, inverse, weight]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [normalized, inverse, weight] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
      const [dBias, dWeight] = [sumOfRows(dy), sumOfRows(tf.mul(dy, normalized))];
      // What moves all rows alike, or along the normalised ones, the statistics take back.
      const own = tf.sub(tf.sub(dy, tf.div(dBias, rows)), tf.mul(normalized, tf.div(dWeight, rows)));
      return [tf.mul(own, tf.mul(weight, inverse)), dWeight, dBias];
    };
    return { value: tf.add(tf.mul(normalized, weight), bias), gradFunc };
  });
  return compute(x, params.weight, params.bias) as tf.Tensor4D;
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
