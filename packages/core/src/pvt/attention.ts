import * as tf from '@tensorflow/tfjs-core';
import { linearPoolSize, type PvtConfig } from '../config.ts';
import { convolution, convolutionSpec } from '../layers/convolution.ts';
import { linear, linearSpec, type LinearEpilogue } from '../layers/linear.ts';
import { norm, normSpec } from '../layers/norm.ts';
import { gelu } from '../ops/activation.ts';
import { adaptiveAveragePool } from '../ops/adaptiveAveragePool.ts';
import { multiHeadAttention } from '../ops/attention.ts';
import { dropout, type ForwardContext } from '../ops/dropout.ts';
import { pipe } from '../ops/pipe.ts';
import type { ParamsOf } from '../params/spec.ts';

/** How a stage shrinks the map that its keys and values are made from. */
export type Reduction =
  | { readonly kind: 'none' }
  | { readonly kind: 'convolution'; readonly ratio: number }
  | { readonly kind: 'pool'; readonly size: number };

export function reductionOf(config: PvtConfig, stage: number): Reduction {
  if (config.version === 'v2' && config.linear) return { kind: 'pool', size: linearPoolSize };
  const ratio = config.reductions[stage]!;
  return ratio === 1 ? { kind: 'none' } : { kind: 'convolution', ratio };
}

/** Spatial-reduction attention (PVT section 3.3) and its linear form (PVT v2 section 3.2). */
export function attentionSpec(config: PvtConfig, stage: number) {
  const channels = config.dims[stage]!;
  const reduction = reductionOf(config, stage);
  const projection = { bias: config.qkvBias, std: config.initRange };
  return {
    q: linearSpec(channels, channels, projection),
    kv: linearSpec(channels, 2 * channels, projection),
    ...(reduction.kind !== 'none' && {
      sr: convolutionSpec(
        channels,
        channels,
        reduction.kind === 'pool' ? 1 : reduction.ratio,
        config.version === 'v1' ? 'fanIn' : 'fanOut',
      ),
      norm: normSpec(channels),
    }),
    proj: linearSpec(channels, channels, { std: config.initRange }),
  };
}

/** The tokens that keys and values are made from: [B, M, C] with M far below N. */
function reduceTokens(
  x: tf.Tensor3D,
  grid: readonly [number, number],
  { sr, norm: reductionNorm }: ParamsOf<typeof attentionSpec>,
  config: PvtConfig,
  stage: number,
): tf.Tensor3D {
  const reduction = reductionOf(config, stage);
  if (reduction.kind === 'none') return x;
  const [batch, , channels] = x.shape;
  const toMap = (t: tf.Tensor) => tf.reshape(t, [batch, ...grid, channels]);
  const toTokens = (t: tf.Tensor) => tf.reshape(t, [batch, -1, channels]);
  const normed = (t: tf.Tensor) => norm(t, reductionNorm!, config.eps.reduction);
  return reduction.kind === 'convolution'
    ? pipe(x, toMap, (t: tf.Tensor4D) => convolution(t, sr!, reduction.ratio), toTokens, normed)
    : pipe(
        x,
        toMap,
        (t: tf.Tensor4D) => adaptiveAveragePool(t, [reduction.size, reduction.size]),
        (t: tf.Tensor4D) => convolution(t, sr!),
        toTokens,
        normed,
        gelu,
      );
}

/**
 * Every token attends to a reduced copy of the map.
 *
 * @param x [B, N, C], N = h·w (or 1 + h·w with a class token, where nothing is reduced)
 * @param residual tokens to add to the result, where nothing is dropped from it
 * @returns tokens [B, N, C] and, if asked for, probabilities [B, heads, N, M]
 */
export function attention(
  x: tf.Tensor3D,
  grid: readonly [number, number],
  params: ParamsOf<typeof attentionSpec>,
  config: PvtConfig,
  stage: number,
  keepProbabilities: boolean,
  context: ForwardContext,
  residual: LinearEpilogue = {},
): { tokens: tf.Tensor3D; probabilities?: tf.Tensor4D } {
  return tf.tidy(() => {
    const reduced = reduceTokens(x, grid, params, config, stage);
    const keyValue = linear(reduced, params.kv);
    if (reduced !== x) reduced.dispose();
    const query = linear(x, params.q);
    const { tokens: mixed, ...rest } = multiHeadAttention(
      query,
      keyValue,
      config.heads[stage]!,
      keepProbabilities,
      config.attentionDropout,
      context,
    );
    query.dispose();
    const tokens = pipe<tf.Tensor3D>(
      mixed,
      (t: tf.Tensor3D) => linear(t, params.proj, residual),
      (t: tf.Tensor3D) => dropout(t, config.dropout, context),
    );
    return { tokens, ...rest };
  });
}
