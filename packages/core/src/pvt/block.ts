import * as tf from '@tensorflow/tfjs-core';
import type { PvtConfig } from '../config.ts';
import { norm, normSpec } from '../layers/norm.ts';
import type { AttentionOutput } from '../ops/attention.ts';
import { dropPath, type ForwardContext } from '../ops/dropout.ts';
import { pipe } from '../ops/pipe.ts';
import type { ParamsOf } from '../params/spec.ts';
import type { Size } from '../vision.ts';
import { attention, attentionSpec } from './attention.ts';
import { mlp, mlpSpec } from './mlp.ts';

/** A transformer block with the norm in front of each branch. */
export const blockSpec = (config: PvtConfig, stage: number) => ({
  norm1: normSpec(config.dims[stage]!),
  attn: attentionSpec(config, stage),
  norm2: normSpec(config.dims[stage]!),
  mlp: mlpSpec(config, stage),
});

/**
 * Drop-path rate of a block: a linear share of the config's, from 0 in the first block to all of it in the
 * last.
 */
export function dropPathRate(config: PvtConfig, stage: number, block: number): number {
  const before = config.depths.slice(0, stage).reduce((sum, depth) => sum + depth, 0) + block;
  const total = config.depths.reduce((sum, depth) => sum + depth, 0);
  return total === 1 ? 0 : (config.dropPath * before) / (total - 1);
}

/**
 * x + dropPath(branch(x)). Unless something is dropped, the branch adds the residual itself, in its last
 * product.
 *
 * @param rate of drop path
 */
function residual(
  x: tf.Tensor3D,
  rate: number,
  config: PvtConfig,
  context: ForwardContext,
  branch: (x: tf.Tensor3D, residual?: tf.Tensor3D) => AttentionOutput,
): AttentionOutput {
  const drops = context.training === true && (rate > 0 || config.dropout > 0);
  if (!drops) return branch(x, x);
  const { tokens, ...rest } = branch(x);
  const sum = pipe(
    tokens,
    (t) => dropPath(t, rate, context),
    (t) => tf.add<tf.Tensor3D>(x, t),
  );
  tokens.dispose();
  return { tokens: sum, ...rest };
}

/**
 * x = x + dropPath(attention(norm1(x))), then x = x + dropPath(mlp(norm2(x))).
 *
 * @param x [B, N, C]
 * @param rate of drop path, see {@link dropPathRate}
 * @returns tokens [B, N, C] and, if asked for, the attention's probabilities [B, heads, N, M]
 */
export function block(
  x: tf.Tensor3D,
  grid: Size,
  { norm1, attn, norm2, mlp: feedForward }: ParamsOf<typeof blockSpec>,
  config: PvtConfig,
  stage: number,
  rate: number,
  returnProbabilities: boolean,
  context: ForwardContext,
): AttentionOutput {
  const eps = config.eps.block;
  return tf.tidy(() => {
    const attended = residual(x, rate, config, context, (x, add) => {
      const normed = norm(x, norm1, eps);
      const output = attention(normed, grid, attn, config, stage, returnProbabilities, context, add);
      normed.dispose();
      return output;
    });
    const { tokens } = residual(attended.tokens, rate, config, context, (x, add) => {
      const normed = norm(x, norm2, eps);
      const output = mlp(normed, grid, feedForward, config, context, add);
      normed.dispose();
      return { tokens: output };
    });
    return { ...attended, tokens };
  });
}
