import * as tf from '@tensorflow/tfjs-core';
import type { PvtConfig } from '../config.ts';
import { norm, normSpec } from '../layers/norm.ts';
import { dropout, type ForwardContext } from '../ops/dropout.ts';
import { pipe } from '../ops/pipe.ts';
import type { ParamsOf } from '../params/spec.ts';
import { block, blockSpec, dropPathRate } from './block.ts';
import { patchEmbed, patchEmbedSpec } from './patchEmbed.ts';
import { addPosition, positionSpec } from './positionEmbedding.ts';

/** v2 norms every stage's tokens; v1 only the last one's, for its classifier. */
const hasNorm = (config: PvtConfig, stage: number): boolean =>
  config.version === 'v2' || (config.classToken && stage === config.dims.length - 1);

export const stageSpec = (config: PvtConfig, stage: number) => ({
  patch_embed: patchEmbedSpec(config, stage),
  ...(config.version === 'v1' && positionSpec(config, stage)),
  blocks: Array.from({ length: config.depths[stage]! }, () => blockSpec(config, stage)),
  ...(hasNorm(config, stage) && { norm: normSpec(config.dims[stage]!) }),
});

/** Which intermediate results a forward keeps. */
export interface Retain {
  readonly hiddenStates: boolean;
  readonly attentions: boolean;
}

/** What a stage hands on; every tensor belongs to the caller. */
export interface StageOutput {
  /** [B, h, w, C]: v2 after the stage's norm, v1 before any, without the class token. Also the next stage's input. */
  readonly map: tf.Tensor4D;
  /** [B, N, C] after the stage's norm, where it has one, with the class token, where there is one. */
  readonly tokens: tf.Tensor3D;
  /** The embedded patches and then the tokens after each block, before the stage's norm. */
  readonly hiddenStates: tf.Tensor3D[];
  /** One [B, heads, N, M] per block. */
  readonly attentions: tf.Tensor4D[];
}

/** @param input [B, H, W, channels of the stage before] */
export function stage(
  input: tf.Tensor4D,
  params: ParamsOf<typeof stageSpec>,
  config: PvtConfig,
  index: number,
  kept: Retain,
  context: ForwardContext,
): StageOutput {
  const hiddenStates: tf.Tensor3D[] = [];
  const attentions: tf.Tensor4D[] = [];
  const { tokens: embedded, grid } = patchEmbed(input, params.patch_embed, config, index);
  const [batch, , channels] = embedded.shape;

  const place = (t: tf.Tensor3D): tf.Tensor3D =>
    config.version === 'v1'
      ? pipe(
          t,
          (u: tf.Tensor3D) =>
            addPosition(
              u,
              grid,
              { pos_embed: params.pos_embed!, ...(params.cls_token && { cls_token: params.cls_token }) },
              config,
              index,
            ),
          (u: tf.Tensor3D) => dropout(u, config.dropout, context),
        )
      : t;
  let x = place(embedded);
  if (x !== embedded) embedded.dispose();
  context.observe?.(`stages.${index}.patch_embed`, x);
  if (kept.hiddenStates) hiddenStates.push(x);
  for (const [i, blockParams] of params.blocks.entries()) {
    const run = (t: tf.Tensor3D, params: typeof blockParams, context: ForwardContext) =>
      block(t, grid, params, config, index, dropPathRate(config, index, i), kept.attentions, context);
    const { tokens, probabilities } =
      context.training && context.recompute && !kept.attentions
        ? { tokens: context.recompute(x, blockParams, context, (...inputs) => run(...inputs).tokens) }
        : run(x, blockParams, context);
    context.observe?.(`stages.${index}.blocks.${i}`, tokens);
    if (kept.hiddenStates) hiddenStates.push(tokens);
    else x.dispose();
    if (probabilities !== undefined) attentions.push(probabilities);
    x = tokens;
  }

  const normed = params.norm === undefined ? x.clone() : norm(x, params.norm, config.eps.block);
  if (params.norm !== undefined) context.observe?.(`stages.${index}.norm`, normed);
  const [height, width] = grid;
  const dense = config.version === 'v2' ? normed : x;
  const extra = dense.shape[1] - height * width;
  const map = pipe<tf.Tensor4D>(
    dense,
    (t: tf.Tensor3D) => (extra === 0 ? t : tf.slice(t, [0, extra, 0])),
    (t: tf.Tensor) => tf.reshape(t, [batch, height, width, channels]),
  );
  if (!kept.hiddenStates) x.dispose();
  return { map, tokens: normed, hiddenStates, attentions };
}
