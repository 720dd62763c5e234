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
 * @param std of the truncated normal that initializes the weight
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

/** What is computed after a linear layer, in the same kernel if the backend has one. */
export interface LinearEpilogue {
  readonly activation?: Activation | undefined;
  /** [..., outputs], added after the activation. */
  readonly residual?: tf.Tensor | undefined;
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
  params: ParamsOf<typeof linearSpec>,
  epilogue: LinearEpilogue = {},
): T {
  return fusedLinear(x, params, epilogue) ?? portableLinear(x, params, epilogue);
}

function fusedLinear<T extends tf.Tensor>(
  x: T,
  { weight, bias }: ParamsOf<typeof linearSpec>,
  { activation, residual }: LinearEpilogue,
): T | undefined {
  if (activation === undefined) return fused('PvtLinear', { x, weight, bias, residual });
  if (!isFusable(activation) || bias === undefined || residual !== undefined) return undefined;
  return fused('PvtLinearActivation', { x, weight, bias }, { activation });
}

function portableLinear<T extends tf.Tensor>(
  x: T,
  { weight, bias }: ParamsOf<typeof linearSpec>,
  { activation, residual }: LinearEpilogue,
): T {
  const [inputs, outputs] = weight.shape;
  return pipe(
    x as tf.Tensor,
    // One flat product for all leading axes: backends have their fast kernel for two dimensions.
    (t) => tf.reshape<tf.Rank.R2>(t, [x.size / inputs, inputs]),
    (t) => product(t, weight, bias),
    (t) => tf.reshape(t, [...x.shape.slice(0, -1), outputs]),
    (t) => (activation === undefined ? t : activationFunctions[activation](t)),
    (t) => (residual === undefined ? t : tf.add(t, residual)),
  ) as T;
}
