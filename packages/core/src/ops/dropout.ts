import * as tf from '@tensorflow/tfjs-core';
import { sizeOf } from '../params/spec.ts';
import type { Random } from '../random.ts';

interface ObservableContext {
  /**
   * Called with each layer's output, under the path of its parameters and in order; the tensors are borrowed.
   */
  readonly observe?: (path: string, tensor: tf.Tensor) => void;
}

/**
 * Computes a block of a model. It may keep the inputs alone and compute the block again in the backward pass
 * (gradient checkpointing). `compute` is pure: the same inputs and the same stream of random numbers give the
 * same result.
 */
export type Recompute = <X extends tf.Tensor, P extends object, Y extends tf.Tensor>(
  x: X,
  params: P,
  context: TrainingContext,
  compute: (x: X, params: P, context: TrainingContext) => Y,
) => Y;

/** Context of a forward in training: dropout draws from `random`, so that a seed reproduces a run. */
export interface TrainingContext extends ObservableContext {
  readonly training: true;
  readonly random: Random;
  /**
   * How blocks are computed to save memory; see `recomputed` of @pvt/training. Default: stored for the
   * backward pass.
   */
  readonly recompute?: Recompute;
}

/** Whether a forward is part of training or of inference. */
export type ForwardContext = (ObservableContext & { readonly training?: false }) | TrainingContext;

/**
 * Multiplies by a mask of 0 (dropped) and 1 / (1 - rate) (not dropped), which is broadcast from `maskShape`.
 */
function applyMask<T extends tf.Tensor>(
  x: T,
  rate: number,
  context: ForwardContext,
  maskShape: readonly number[],
): T {
  if (!context.training || rate === 0) return x;
  const { random } = context;
  const mask = new Float32Array(sizeOf(maskShape));
  for (let i = 0; i < mask.length; i++) mask[i] = random.uniform() < rate ? 0 : 1 / (1 - rate);
  const tensor = tf.tensor(mask, [...maskShape]);
  const result = tf.mul<T>(x, tensor);
  tensor.dispose();
  return result;
}

/**
 * Dropout (Srivastava et al., 2014). Returns `x` itself outside training.
 *
 * @param rate share of values set to zero, in [0, 1)
 * @example
 * const y = dropout(x, 0.1, { training: true, random: createRandom(1) });
 */
export const dropout = <T extends tf.Tensor>(x: T, rate: number, context: ForwardContext): T =>
  applyMask(x, rate, context, x.shape);

/**
 * Dropout of whole channels of maps, as PyTorch's `Dropout2d` (Tompson et al., arXiv:1411.4280). Returns `x`
 * itself outside training.
 *
 * @param x [B, H, W, C]
 * @param rate share of each sample's channels set to zero, in [0, 1)
 * @example
 * const y = dropChannels(map, 0.1, { training: true, random: createRandom(1) });
 */
export const dropChannels = (x: tf.Tensor4D, rate: number, context: ForwardContext): tf.Tensor4D =>
  applyMask(x, rate, context, [x.shape[0], 1, 1, x.shape[3]]);

/**
 * Drop path, or stochastic depth (Huang et al., arXiv:1603.09382): drops whole samples of a residual branch
 * and scales the others up. Returns `x` itself outside training.
 *
 * @param x [B, ...]
 * @param rate share of samples set to zero, in [0, 1)
 * @example
 * const y = tf.add(x, dropPath(branch, 0.1, context));
 */
export function dropPath<T extends tf.Tensor>(x: T, rate: number, context: ForwardContext): T {
  const perSample = x.shape.map((side, axis) => (axis === 0 ? side : 1));
  return applyMask(x, rate, context, perSample);
}
