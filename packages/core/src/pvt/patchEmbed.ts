import * as tf from '@tensorflow/tfjs-core';
import { patchPadding, type PvtConfig } from '../config.ts';
import { convolution, convolutionSpec } from '../layers/convolution.ts';
import { norm, normSpec } from '../layers/norm.ts';
import type { ParamsOf } from '../params/spec.ts';

/** Patch embedding of a stage: one strided convolution and a LayerNorm (PVT section 3.2; PVT v2 section 3.3). */
export function patchEmbedSpec(config: PvtConfig, stage: number) {
  const inputs = stage === 0 ? config.channels : config.dims[stage - 1]!;
  const channels = config.dims[stage]!;
  return {
    proj: convolutionSpec(
      inputs,
      channels,
      config.patchSizes[stage]!,
      config.version === 'v1' ? 'fanIn' : 'fanOut',
    ),
    norm: normSpec(channels),
  };
}

/**
 * From a map to the tokens of the next stage.
 *
 * @param map [B, H, W, inputs]
 * @returns tokens [B, h·w, C] and their grid [h, w]
 */
export function patchEmbed(
  map: tf.Tensor4D,
  { proj, norm: patchNorm }: ParamsOf<typeof patchEmbedSpec>,
  config: PvtConfig,
  stage: number,
) {
  const embedded = convolution(map, proj, config.strides[stage]!, patchPadding(config, stage));
  const [batch, height, width, channels] = embedded.shape;
  const flat = tf.reshape(embedded, [batch, height * width, channels]) as tf.Tensor3D;
  embedded.dispose();
  const tokens = norm(flat, patchNorm, config.eps.patchEmbed);
  flat.dispose();
  return { tokens, grid: [height, width] as const };
}
