import type * as tf from '@tensorflow/tfjs-core';
import { layerNorm } from '../ops/layerNorm.ts';
import type { ParamSpec, ParamsOf } from '../params/spec.ts';

/** LayerNorm's scale and shift, over `channels`. */
export const normSpec = (channels: number) => ({
  weight: {
    shape: [channels],
    layout: 'plain',
    init: { kind: 'constant', value: 1 },
  } as ParamSpec<tf.Tensor1D>,
  bias: {
    shape: [channels],
    layout: 'plain',
    init: { kind: 'constant', value: 0 },
  } as ParamSpec<tf.Tensor1D>,
});

/** Layer normalisation of the last axis with parameters of {@link normSpec}. */
export const norm = <T extends tf.Tensor>(x: T, params: ParamsOf<typeof normSpec>, eps: number): T =>
  layerNorm(x, params.weight, params.bias, eps);
