import * as tf from '@tensorflow/tfjs-core';
import { linearPoolSize, type PvtConfig } from '../config.ts';
import { convolution, convolutionSpec } from '../layers/convolution.ts';
import { linear, linearSpec } from '../layers/linear.ts';
import { norm, normSpec } from '../layers/norm.ts';
import { gelu } from '../ops/activation.ts';
import { adaptiveAveragePool } from '../ops/adaptiveAveragePool.ts';
import { multiHeadAttention, type AttentionOutput } from '../ops/attention.ts';
import { dropout, type ForwardContext } from '../ops/dropout.ts';
import { pipe } from '../ops/pipe.ts';
import type { ParamsOf } from '../params/spec.ts';
import type { Size } from '../vision.ts';
import { toMap, toTokens } from './tokens.ts';

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
  const kernel = reduction.kind === 'convolution' ? reduction.ratio : 1;
  const init = config.version === 'v1' ? 'fanIn' : 'fanOut';
  const projection = { bias: config.qkvBias, std: config.initRange };
  return {
    q: linearSpec(channels, channels, projection),
    kv: linearSpec(channels, 2 * channels, projection),
    ...(reduction.kind !== 'none' && {
      sr: convolutionSpec(channels, channels, kernel, init),
      norm: normSpec(channels),
    }),
    proj: linearSpec(channels, channels, { std: config.initRange }),
  };
}

/** The tokens that keys and values are made from: [B, M, C] with M far below N. */
function reduceTokens(
  x: tf.Tensor3D,
  grid: Size,
  { sr, norm: reductionNorm }: ParamsOf<typeof attentionSpec>,
  config: PvtConfig,
  stage: number,
): tf.Tensor3D {
  const reduction = reductionOf(config, stage);
  switch (reduction.kind) {
    case 'none':
      return x;
    case 'convolution':
      return pipe(
        x,
        (t) => toMap(t, grid),
        (t) => convolution(t, sr!, reduction.ratio),
        toTokens,
        (t) => norm(t, reductionNorm!, config.eps.reduction),
      );
    case 'pool':
      return pipe(
        x,
        (t) => toMap(t, grid),
        (t) => adaptiveAveragePool(t, [reduction.size, reduction.size]),
        (t) => convolution(t, sr!),
        toTokens,
        (t) => norm(t, reductionNorm!, config.eps.reduction),
        gelu,
      );
  }
}

/**
 * Every token attends to a reduced copy of the map.
 *
 * @param x [B, N, C], N = h·w (or 1 + h·w with a class token, in which case nothing is reduced)
 * @param residual tokens to add to the result; only if nothing is dropped from it
 * @returns tokens [B, N, C] and, if asked for, probabilities [B, heads, N, M]
 */
export function attention(
  x: tf.Tensor3D,
  grid: Size,
  params: ParamsOf<typeof attentionSpec>,
  config: PvtConfig,
  stage: number,
  returnProbabilities: boolean,
  context: ForwardContext,
  residual?: tf.Tensor3D,
): AttentionOutput {
  return tf.tidy(() => {
    const reduced = reduceTokens(x, grid, params, config, stage);
    const keyValue = linear(reduced, params.kv);
    if (reduced !== x) reduced.dispose();
    const query = linear(x, params.q);
    const heads = config.heads[stage]!;
    const rate = config.attentionDropout;
    const mixed = multiHeadAttention(query, keyValue, heads, returnProbabilities, rate, context);
    query.dispose();
    const tokens = pipe(
      mixed.tokens,
      (t) => linear(t, params.proj, { residual }),
      (t) => dropout(t, config.dropout, context),
    );
    return { ...mixed, tokens };
  });
}
