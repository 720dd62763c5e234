import * as tf from '@tensorflow/tfjs-core';
import type { PvtConfig } from '../config.ts';
import { norm, normSpec } from '../layers/norm.ts';
import { dropPath, type ForwardContext } from '../ops/dropout.ts';
import { pipe } from '../ops/pipe.ts';
import type { ParamsOf } from '../params/spec.ts';
import { attention, attentionSpec } from './attention.ts';
import { mlp, mlpSpec } from './mlp.ts';

/** A transformer block with the norm in front of each branch. */
export const blockSpec = (config: PvtConfig, stage: number) => ({
  norm1: normSpec(config.dims[stage]!),
  attn: attentionSpec(config, stage),
  norm2: normSpec(config.dims[stage]!),
  mlp: mlpSpec(config, stage),
});

/** Drop-path rate of a block: a linear share of the config's, from 0 in the first block to all of it in the last. */
export function dropPathRate(config: PvtConfig, stage: number, block: number): number {
  const before = config.depths.slice(0, stage).reduce((sum, depth) => sum + depth, 0) + block;
  const total = config.depths.reduce((sum, depth) => sum + depth, 0);
  return total === 1 ? 0 : (config.dropPath * before) / (total - 1);
}

/**
 * x + attention(norm(x)), then x + mlp(norm(x)).
 *
 * @param x [B, N, C]
 * @returns tokens [B, N, C] and, if asked for, the attention's probabilities [B, heads, N, M]
 */
export function block(
  x: tf.Tensor3D,
  grid: readonly [number, number],
  params: ParamsOf<typeof blockSpec>,
  config: PvtConfig,
  stage: number,
  rate: number,
  keepProbabilities: boolean,
  context: ForwardContext,
): { tokens: tf.Tensor3D; probabilities?: tf.Tensor4D } {
  return tf.tidy(() => {
    // Where nothing is dropped from a branch, its last product adds the residual by itself.
    const drops = context.training === true && (rate > 0 || config.dropout > 0);
    const within = (residual: tf.Tensor3D) => (drops ? {} : { residual });
    const after = (residual: tf.Tensor3D) => (branch: tf.Tensor3D) =>
      drops
        ? pipe<tf.Tensor3D>(
            branch,
            (t: tf.Tensor3D) => dropPath(t, rate, context),
            (t: tf.Tensor) => tf.add(residual, t),
          )
        : branch;

    const normed = norm(x, params.norm1, config.eps.block);
    const { tokens: attended, ...rest } = attention(
      normed,
      grid,
      params.attn,
      config,
      stage,
      keepProbabilities,
      context,
      within(x),
    );
    normed.dispose();
    const middle = after(x)(attended);
    if (middle !== attended) attended.dispose();
    const tokens = pipe<tf.Tensor3D>(
      middle,
      (t: tf.Tensor3D) => norm(t, params.norm2, config.eps.block),
      (t: tf.Tensor3D) => mlp(t, grid, params.mlp, config, context, within(middle)),
      after(middle),
    );
    return { tokens, ...rest };
  });
}
