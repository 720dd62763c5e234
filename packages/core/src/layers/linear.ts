import * as tf from '@tensorflow/tfjs-core';
import { product } from '../ops/product.ts';
import type { ParamSpec, ParamsOf } from '../params/spec.ts';

/**
 * A linear layer: weight (outputs, inputs) and, unless switched off, bias (outputs).
 *
 * @param std of the truncated normal that weights start from
 */
export const linearSpec = (inputs: number, outputs: number, { bias = true, std = 0.02 } = {}) => ({
  weight: { shape: [outputs, inputs], layout: 'linear', init: { kind: 'truncatedNormal', std } } as ParamSpec<tf.Tensor2D>,
  ...(bias && { bias: { shape: [outputs], layout: 'plain', init: { kind: 'constant', value: 0 } } as ParamSpec<tf.Tensor1D> }),
});

/**
 * y = x·W + b over the last axis.
 *
 * @param x [..., inputs]
 * @returns [..., outputs]
 * @example
 * const y = linear(tokens, params.fc1);
 */
export function linear<T extends tf.Tensor>(x: T, { weight, bias }: ParamsOf<typeof linearSpec>): T {
  const [inputs, outputs] = weight.shape;
  // One flat product for all leading axes: backends have their fast kernel for two dimensions.
  const flat = tf.reshape(x, [x.size / inputs, inputs]) as tf.Tensor2D;
  const rows = product(flat, weight, bias);
  flat.dispose();
  const result = tf.reshape(rows, [...x.shape.slice(0, -1), outputs]);
  rows.dispose();
  return result as T;
}
