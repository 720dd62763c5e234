import * as tf from '@tensorflow/tfjs-core';
import type { Activation } from '../config.ts';

/** What an adapter may compute in one kernel; inputs and attributes are those of the op that asks for it. */
export type FusedKernel =
  | 'PvtLinear'
  | 'PvtLinearActivation'
  | 'PvtLayerNorm'
  | 'PvtGelu'
  | 'PvtAttention'
  | 'PvtDepthwise'
  | 'PvtConvolution';

/**
 * Runs the kernel that an adapter has registered for the current backend, with the gradient registered beside it.
 *
 * @returns undefined where there is none, and the op goes on in tfjs's own kernels
 * @example
 * return fused('PvtGelu', { x }) ?? portable(x);
 */
export function fused<T extends tf.Tensor>(
  kernel: FusedKernel,
  inputs: Readonly<Record<string, tf.Tensor | undefined>>,
  attrs: tf.NamedAttrMap | undefined = {},
): T | undefined {
  if (!tf.getKernel(kernel, tf.getBackend())) return undefined;
  const given = Object.fromEntries(
    Object.entries(inputs).filter(([, tensor]) => tensor !== undefined),
  ) as tf.NamedTensorMap;
  return tf.engine().runKernel(kernel, given, attrs) as T;
}

/** Whether kernels apply this activation to their own result; others follow as an op. */
export const isFusable = (activation: Activation | undefined): boolean =>
  activation === undefined || activation === 'gelu' || activation === 'relu';
