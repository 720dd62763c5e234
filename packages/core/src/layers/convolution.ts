import type * as tf from '@tensorflow/tfjs-core';
import type { Activation } from '../config.ts';
import { conv2d, depthwiseConv2d } from '../ops/convolution.ts';
import type { Initializer, ParamSpec, ParamsOf } from '../params/spec.ts';

/**
 * How the two official code bases initialize their convolutions: v2 draws normals of variance 2 / fan-out
 * with zero bias (`_init_weights` in classification/pvt_v2.py); v1 leaves PyTorch's default, uniform within 1
 * / √fan-in for both.
 */
export type ConvolutionInit = 'fanOut' | 'fanIn';

function initializers(
  init: ConvolutionInit,
  fanIn: number,
  fanOut: number,
): { readonly weight: Initializer; readonly bias: Initializer } {
  if (init === 'fanOut') {
    return { weight: { kind: 'normal', std: Math.sqrt(2 / fanOut) }, bias: { kind: 'constant', value: 0 } };
  }
  const uniform: Initializer = { kind: 'uniform', bound: 1 / Math.sqrt(fanIn) };
  return { weight: uniform, bias: uniform };
}

/**
 * A square convolution: weight (outputs, inputs, kernel, kernel) and, unless switched off, bias (outputs).
 */
export function convolutionSpec(
  inputs: number,
  outputs: number,
  kernel: number,
  init: ConvolutionInit = 'fanOut',
  { bias = true } = {},
) {
  const initial = initializers(init, inputs * kernel * kernel, outputs * kernel * kernel);
  return {
    weight: {
      shape: [outputs, inputs, kernel, kernel],
      layout: 'convolution',
      init: initial.weight,
    } as ParamSpec<tf.Tensor4D>,
    ...(bias && {
      bias: { shape: [outputs], layout: 'plain', init: initial.bias } as ParamSpec<tf.Tensor1D>,
    }),
  };
}

/** A square depthwise convolution with bias: weight (channels, 1, kernel, kernel). */
export function depthwiseSpec(channels: number, kernel: number, init: ConvolutionInit = 'fanOut') {
  // Both fans count one channel: fan-out is divided by the number of groups.
  const initial = initializers(init, kernel * kernel, kernel * kernel);
  return {
    weight: {
      shape: [channels, 1, kernel, kernel],
      layout: 'depthwise',
      init: initial.weight,
    } as ParamSpec<tf.Tensor4D>,
    bias: { shape: [channels], layout: 'plain', init: initial.bias } as ParamSpec<tf.Tensor1D>,
  };
}

/**
 * Convolution as PyTorch's `Conv2d`. The padding is a number because tfjs's 'same' pads only the far side at
 * stride 2.
 *
 * @param x [B, H, W, inputs]
 * @param stride of both axes, pixels
 * @param padding zero rows and columns on every side, pixels
 * @returns [B, H', W', outputs]
 * @example
 * const y = convolution(map, params.sr, 8);
 */
export function convolution(
  x: tf.Tensor4D,
  { weight, bias }: ParamsOf<typeof convolutionSpec>,
  stride = 1,
  padding = 0,
): tf.Tensor4D {
  return conv2d(x, weight, bias, stride, padding);
}

/**
 * Depthwise convolution, stride 1, as PyTorch's `Conv2d(groups=channels)`.
 *
 * @param x [B, H, W, C]
 * @param padding zero rows and columns on every side, pixels; half the kernel keeps the map's size
 * @param activation of the result
 * @returns [B, H', W', C]
 * @example
 * const y = depthwise(map, params.dwconv, 1);
 */
export function depthwise(
  x: tf.Tensor4D,
  { weight, bias }: ParamsOf<typeof depthwiseSpec>,
  padding: number,
  activation?: Activation,
): tf.Tensor4D {
  return depthwiseConv2d(x, weight, bias, padding, activation);
}
