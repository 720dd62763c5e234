import type * as tf from '@tensorflow/tfjs-core';
import { layerNorm } from '../ops/layerNorm.ts';
import { perChannel, type ParamsOf } from '../params/spec.ts';

/** LayerNorm's scale and shift, over `channels`. */
export const normSpec = (channels: number) => ({
  weight: perChannel(channels, 1),
  bias: perChannel(channels, 0),
});

/** Layer normalization of the last axis with parameters of {@link normSpec}. */
export const norm = <T extends tf.Tensor>(x: T, params: ParamsOf<typeof normSpec>, eps: number): T =>
  layerNorm(x, params.weight, params.bias, eps);
