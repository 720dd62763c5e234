import * as tf from '@tensorflow/tfjs-core';
import {
  batchNorm,
  batchNormSpec,
  convolution,
  convolutionSpec,
  pipe,
  type ForwardContext,
  type Initializer,
  type ParamSpec,
  type ParamsOf,
} from '@pvt/core';

/** Epsilon of every BatchNorm in the heads, PyTorch's default. */
const eps = 1e-5;

/** Xavier's uniform initializer, which mmdetection uses for the convolutions of a neck. */
export const xavier = (inputs: number, outputs: number, kernel: number): Initializer => ({
  kind: 'uniform',
  bound: Math.sqrt(6 / ((inputs + outputs) * kernel * kernel)),
});

/** A convolution with an initializer of its own for the weight; its bias starts at a constant. */
export function initializedConvolutionSpec(
  inputs: number,
  outputs: number,
  kernel: number,
  weight: Initializer,
  bias = 0,
) {
  const spec = convolutionSpec(inputs, outputs, kernel);
  return {
    weight: { ...spec.weight, init: weight } as ParamSpec<tf.Tensor4D>,
    bias: { ...spec.bias, init: { kind: 'constant', value: bias } } as ParamSpec<tf.Tensor1D>,
  };
}

/** A convolution without bias and the BatchNorm after it, named as in mmcv's `ConvModule`. */
export const convModuleSpec = (inputs: number, outputs: number, kernel: number) => ({
  conv: convolutionSpec(inputs, outputs, kernel, 'fanOut', { bias: false }),
  bn: batchNormSpec(outputs),
});

/**
 * Convolution at stride 1 that keeps the map's size, BatchNorm, ReLU: mmcv's `ConvModule`.
 *
 * @param x [B, H, W, inputs]
 * @returns [B, H, W, outputs]
 */
export function convModule(
  x: tf.Tensor4D,
  { conv, bn }: ParamsOf<typeof convModuleSpec>,
  context: ForwardContext,
): tf.Tensor4D {
  const padding = (conv.weight.shape[0] - 1) / 2;
  return pipe(
    x,
    (t) => convolution(t, conv, 1, padding),
    (t) => batchNorm(t, bn, eps, context),
    (t) => tf.relu(t),
  );
}
