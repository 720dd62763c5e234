import * as tf from '@tensorflow/tfjs-core';
import type { PvtConfig } from '../config.ts';
import { norm, normSpec } from '../layers/norm.ts';
import type { AttentionOutput } from '../ops/attention.ts';
import { dropout, type ForwardContext } from '../ops/dropout.ts';
import { pipe } from '../ops/pipe.ts';
import type { ParamsOf } from '../params/spec.ts';
import type { Size } from '../vision.ts';
import { block, blockSpec, dropPathRate } from './block.ts';
import { patchEmbed, patchEmbedSpec, type EmbeddedPatches } from './patchEmbed.ts';
import { addPosition, positionSpec } from './positionEmbedding.ts';
import { toMap } from './tokens.ts';

/** v2 norms every stage's tokens; v1 only the last one's, for its classifier. */
const hasNorm = (config: PvtConfig, stage: number): boolean =>
  config.version === 'v2' || (config.classToken && stage === config.dims.length - 1);

export const stageSpec = (config: PvtConfig, stage: number) => ({
  patch_embed: patchEmbedSpec(config, stage),
  ...(config.version === 'v1' && positionSpec(config, stage)),
  blocks: Array.from({ length: config.depths[stage]! }, () => blockSpec(config, stage)),
  ...(hasNorm(config, stage) && { norm: normSpec(config.dims[stage]!) }),
});

type StageParams = ParamsOf<typeof stageSpec>;

/** Which intermediate results a forward returns. */
export interface Retain {
  readonly hiddenStates: boolean;
  readonly attentions: boolean;
}

/** A stage's results; every tensor belongs to the caller. */
export interface StageOutput {
  /**
   * [B, h, w, C], the next stage's input: v2 after the stage's norm, v1 before any, without the class token.
   */
  readonly map: tf.Tensor4D;
  /** [B, N, C] after the stage's norm, if it has one, with the class token, if there is one. */
  readonly tokens: tf.Tensor3D;
  /** The embedded patches and then the tokens after each block, before the stage's norm. */
  readonly hiddenStates: tf.Tensor3D[];
  /** One [B, heads, N, M] per block. */
  readonly attentions: tf.Tensor4D[];
}

/** Patch embedding, then blocks, then the norm. @param input [B, H, W, channels of the stage before] */
export function stage(
  input: tf.Tensor4D,
  params: StageParams,
  config: PvtConfig,
  index: number,
  retain: Retain,
  context: ForwardContext,
): StageOutput {
  const hiddenStates: tf.Tensor3D[] = [];
  const attentions: tf.Tensor4D[] = [];

  const { tokens: embedded, grid } = embed(input, params, config, index, context);
  context.observe?.(`stages.${index}.patch_embed`, embedded);
  if (retain.hiddenStates) hiddenStates.push(embedded);

  let x = embedded;
  for (const i of params.blocks.keys()) {
    const { tokens, probabilities } = runBlock(x, grid, params, config, index, i, retain, context);
    context.observe?.(`stages.${index}.blocks.${i}`, tokens);
    if (retain.hiddenStates) hiddenStates.push(tokens);
    else x.dispose();
    if (probabilities !== undefined) attentions.push(probabilities);
    x = tokens;
  }

  const normed = params.norm === undefined ? x.clone() : norm(x, params.norm, config.eps.block);
  if (params.norm !== undefined) context.observe?.(`stages.${index}.norm`, normed);
  const map = withoutClassToken(config.version === 'v2' ? normed : x, grid);
  if (!retain.hiddenStates) x.dispose();
  return { map, tokens: normed, hiddenStates, attentions };
}

/** The patches' tokens; in v1 with position embeddings and, in the last stage, the class token. */
function embed(
  input: tf.Tensor4D,
  { patch_embed, pos_embed, cls_token }: StageParams,
  config: PvtConfig,
  index: number,
  context: ForwardContext,
): EmbeddedPatches {
  const embedded = patchEmbed(input, patch_embed, config, index);
  if (config.version === 'v2') return embedded;
  const { tokens, grid } = embedded;
  const positioned = pipe(
    tokens,
    (t) => addPosition(t, grid, pos_embed!, cls_token, config, index),
    (t) => dropout(t, config.dropout, context),
  );
  tokens.dispose();
  return { tokens: positioned, grid };
}

/** A block. In training it may be computed again in the backward pass, which returns no probabilities. */
function runBlock(
  x: tf.Tensor3D,
  grid: Size,
  { blocks }: StageParams,
  config: PvtConfig,
  index: number,
  i: number,
  retain: Retain,
  context: ForwardContext,
): AttentionOutput {
  const rate = dropPathRate(config, index, i);
  if (!context.training || context.recompute === undefined || retain.attentions)
    return block(x, grid, blocks[i]!, config, index, rate, retain.attentions, context);
  const tokens = context.recompute(
    x,
    blocks[i]!,
    context,
    (x, params, context) => block(x, grid, params, config, index, rate, false, context).tokens,
  );
  return { tokens };
}

/** The map of tokens [B, N, C], without the class token that may stand in front: [B, h, w, C]. */
function withoutClassToken(tokens: tf.Tensor3D, grid: Size): tf.Tensor4D {
  const extra = tokens.shape[1] - grid[0] * grid[1];
  return pipe(
    tokens,
    (t) => (extra === 0 ? t : tf.slice(t, [0, extra, 0])),
    (t) => toMap(t, grid),
  );
}
