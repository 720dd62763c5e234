import type * as tf from '@tensorflow/tfjs-core';
import { patchPadding, type PvtConfig } from '../config.ts';
import { convolution, convolutionSpec } from '../layers/convolution.ts';
import { norm, normSpec } from '../layers/norm.ts';
import type { ParamsOf } from '../params/spec.ts';
import type { Size } from '../vision.ts';
import { toTokens } from './tokens.ts';

/**
 * Patch embedding of a stage: one strided convolution and a LayerNorm (PVT section 3.2; PVT v2 section 3.3).
 */
export function patchEmbedSpec(config: PvtConfig, stage: number) {
  const inputs = stage === 0 ? config.channels : config.dims[stage - 1]!;
  const channels = config.dims[stage]!;
  const init = config.version === 'v1' ? 'fanIn' : 'fanOut';
  return {
    proj: convolutionSpec(inputs, channels, config.patchSizes[stage]!, init),
    norm: normSpec(channels),
  };
}

/** Tokens [B, h·w, C] and the grid [h, w] that they lie on. */
export interface EmbeddedPatches {
  readonly tokens: tf.Tensor3D;
  readonly grid: Size;
}

/**
 * From a map to the tokens of the next stage.
 *
 * @param map [B, H, W, inputs]
 */
export function patchEmbed(
  map: tf.Tensor4D,
  { proj, norm: patchNorm }: ParamsOf<typeof patchEmbedSpec>,
  config: PvtConfig,
  stage: number,
): EmbeddedPatches {
  const embedded = convolution(map, proj, config.strides[stage]!, patchPadding(config, stage));
  const [, height, width] = embedded.shape;
  const flat = toTokens(embedded);
  embedded.dispose();
  const tokens = norm(flat, patchNorm, config.eps.patchEmbed);
  flat.dispose();
  return { tokens, grid: [height, width] };
}
