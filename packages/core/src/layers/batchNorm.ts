import * as tf from '@tensorflow/tfjs-core';
import type { ForwardContext } from '../ops/dropout.ts';
import { pipe } from '../ops/pipe.ts';
import type { ParamSpec, ParamsOf } from '../params/spec.ts';

const perChannel = (channels: number, value: number) => ({ shape: [channels], layout: 'plain', init: { kind: 'constant', value } }) as ParamSpec<tf.Tensor1D>;

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
export function batchNorm(x: tf.Tensor4D, params: ParamsOf<typeof batchNormSpec>, eps: number, context: ForwardContext): tf.Tensor4D {
  const { weight, bias } = params;
  return tf.tidy(() => {
    const { mean, variance } = context.training ? tf.moments(x, [0, 1, 2]) : { mean: params.running_mean, variance: params.running_var };
    if (context.training) follow(params, mean as tf.Tensor1D, variance as tf.Tensor1D, x.size / x.shape[3]);
    const scale = tf.mul(weight, tf.rsqrt(tf.add(variance, eps)));
    // One product and one sum over the map, whatever the statistics are.
    return pipe<tf.Tensor4D>(x, (t: tf.Tensor4D) => tf.mul(t, scale), (t: tf.Tensor4D) => tf.add(t, tf.sub(bias, tf.mul(mean, scale))));
  });
}

/** Moves the running statistics towards a batch's; the running variance is the unbiased one. */
function follow({ running_mean, running_var }: ParamsOf<typeof batchNormSpec>, mean: tf.Tensor1D, variance: tf.Tensor1D, count: number): void {
  const blend = (running: tf.Tensor1D, value: tf.Tensor1D) => (running as tf.Variable).assign(tf.add(tf.mul(running, 1 - momentum), tf.mul(value, momentum)));
  blend(running_mean, mean);
  blend(running_var, tf.mul(variance, count / Math.max(1, count - 1)));
}
