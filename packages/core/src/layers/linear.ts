import * as tf from '@tensorflow/tfjs-core';
import type { Activation } from '../config.ts';
import { activationFunctions } from '../ops/activation.ts';
import { fused, isFusable } from '../ops/fused.ts';
import { pipe } from '../ops/pipe.ts';
import { product } from '../ops/product.ts';
import type { ParamSpec, ParamsOf } from '../params/spec.ts';

/**
 * A linear layer: weight (outputs, inputs) and, unless switched off, bias (outputs).
 *
 * @param std of the truncated normal that weights start from
 */
export const linearSpec = (inputs: number, outputs: number, { bias = true, std = 0.02 } = {}) => ({
  weight: {
    shape: [outputs, inputs],
    layout: 'linear',
    init: { kind: 'truncatedNormal', std },
  } as ParamSpec<tf.Tensor2D>,
  ...(bias && {
    bias: {
      shape: [outputs],
      layout: 'plain',
      init: { kind: 'constant', value: 0 },
    } as ParamSpec<tf.Tensor1D>,
  }),
});

/** What follows a linear layer and may become part of its product. */
export interface LinearEpilogue {
  readonly activation?: Activation;
  /** [..., outputs], added after the activation. */
  readonly residual?: tf.Tensor;
}

/**
 * y = activation(x·W + b) + residual over the last axis.
 *
 * @param x [..., inputs]
 * @returns [..., outputs]
 * @example
 * const y = linear(tokens, params.fc1, { activation: 'gelu' });
 */
export function linear<T extends tf.Tensor>(
  x: T,
  { weight, bias }: ParamsOf<typeof linearSpec>,
  { activation, residual }: LinearEpilogue = {},
): T {
  const quick =
    activation === undefined
      ? fused<T>('PvtLinear', { x, weight, bias, residual })
      : isFusable(activation) && bias && !residual
        ? fused<T>('PvtLinearActivation', { x, weight, bias }, { activation })
        : undefined;
  if (quick !== undefined) return quick;
  const [inputs, outputs] = weight.shape;
  return pipe(
    x,
    // One flat product for all leading axes: backends have their fast kernel for two dimensions.
    (t: tf.Tensor) => tf.reshape(t, [x.size / inputs, inputs]),
    (t: tf.Tensor2D) => product(t, weight, bias),
    (t: tf.Tensor) => tf.reshape(t, [...x.shape.slice(0, -1), outputs]),
    (t: tf.Tensor) => (activation === undefined ? t : activationFunctions[activation](t)),
    (t: tf.Tensor) => (residual === undefined ? t : tf.add(t, residual)),
  );
}
