import * as tf from '@tensorflow/tfjs-core';
import type { Random } from '../random.ts';

/** What any forward may be told. */
interface Observed {
  /** Shown what each part computes, under the path of its parameters and in order; the tensors are borrowed. */
  readonly observe?: (path: string, tensor: tf.Tensor) => void;
}

/**
 * Computes a block of a model, and may keep its inputs alone and compute it again in the backward pass. `compute` is pure:
 * the same inputs and the same stream of random numbers give the same result.
 */
export type Recompute = <X extends tf.Tensor, P extends object, Y extends tf.Tensor>(
  x: X,
  params: P,
  context: TrainingContext,
  compute: (x: X, params: P, context: TrainingContext) => Y,
) => Y;

/** What a forward is told while it trains: its noise is drawn from `random`, so that a seed reproduces a run. */
export interface TrainingContext extends Observed {
  readonly training: true;
  readonly random: Random;
  /** How blocks are computed where memory is short; `recomputed` of @pvt/training. */
  readonly recompute?: Recompute;
}

/** Whether a forward trains. */
export type ForwardContext = (Observed & { readonly training?: false }) | TrainingContext;

/** Multiplies by a mask that is 1 / (1 - rate) where the draw keeps and 0 where it drops, broadcast from `maskShape`. */
function masked<T extends tf.Tensor>(
  x: T,
  rate: number,
  context: ForwardContext,
  maskShape: readonly number[],
): T {
  if (!context.training || rate === 0) return x;
  const { random } = context;
  const mask = new Float32Array(maskShape.reduce((product, side) => product * side, 1));
  for (let i = 0; i < mask.length; i++) mask[i] = random.uniform() < rate ? 0 : 1 / (1 - rate);
  const tensor = tf.tensor(mask, [...maskShape]);
  const result = tf.mul(x, tensor) as T;
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
  masked(x, rate, context, x.shape);

/**
 * Dropout of whole channels of maps, as PyTorch's `Dropout2d` (Tompson et al., arXiv:1411.4280). Returns `x` itself outside training.
 *
 * @param x [B, H, W, C]
 * @param rate share of each sample's channels set to zero, in [0, 1)
 * @example
 * const y = dropChannels(map, 0.1, { training: true, random: createRandom(1) });
 */
export const dropChannels = (x: tf.Tensor4D, rate: number, context: ForwardContext): tf.Tensor4D =>
  masked(x, rate, context, [x.shape[0], 1, 1, x.shape[3]]);

/**
 * Drop path, or stochastic depth (Huang et al., arXiv:1603.09382): drops whole samples of a residual branch and scales
 * the others up. Returns `x` itself outside training.
 *
 * @param x [B, ...]
 * @param rate share of samples set to zero, in [0, 1)
 * @example
 * const y = tf.add(x, dropPath(branch, 0.1, context));
 */
export const dropPath = <T extends tf.Tensor>(x: T, rate: number, context: ForwardContext): T =>
  masked(
    x,
    rate,
    context,
    x.shape.map((side, axis) => (axis === 0 ? side : 1)),
  );
