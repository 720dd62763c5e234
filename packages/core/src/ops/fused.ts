import * as tf from '@tensorflow/tfjs-core';
import type { Activation } from '../config.ts';

/** Kernels that an adapter may register; inputs and attributes are those of the op that asks for one. */
export type FusedKernel =
  | 'PvtLinear'
  | 'PvtLinearActivation'
  | 'PvtLayerNorm'
  | 'PvtGelu'
  | 'PvtAttention'
  | 'PvtDepthwise'
  | 'PvtConvolution';

/**
 * Runs the kernel that an adapter has registered for the current backend, with the gradient registered beside
 * it.
 *
 * @returns undefined if there is none; the op is then computed by tfjs's own kernels
 * @example
 * return fused('PvtGelu', { x }) ?? portable(x);
 */
export function fused<T extends tf.Tensor>(
  kernel: FusedKernel,
  inputs: Readonly<Record<string, tf.Tensor | undefined>>,
  attrs: tf.NamedAttrMap = {},
): T | undefined {
  if (!tf.getKernel(kernel, tf.getBackend())) return undefined;
  const given = Object.fromEntries(
    Object.entries(inputs).filter(([, tensor]) => tensor !== undefined),
  ) as tf.NamedTensorMap;
  return tf.engine().runKernel(kernel, given, attrs) as T;
}

/** Whether fused kernels can apply an activation to their own result; others are separate ops. */
export const isFusable = (activation: Activation | undefined): boolean =>
  activation === undefined || activation === 'gelu' || activation === 'relu';
