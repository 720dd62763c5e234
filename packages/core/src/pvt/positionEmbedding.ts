import * as tf from '@tensorflow/tfjs-core';
import { gridSizes, type PvtV1Config } from '../config.ts';
import { resample } from '../ops/resample.ts';
import type { ParamSpec } from '../params/spec.ts';
import type { Size } from '../vision.ts';

const embedding = (tokens: number, channels: number, std: number) =>
  ({
    shape: [1, tokens, channels],
    layout: 'plain',
    init: { kind: 'truncatedNormal', std },
  }) as ParamSpec<tf.Tensor3D>;

/**
 * v1's learned position embeddings (PVT section 3.2) for the grid that `imageSize` gives. The last stage's
 * always has the class token's entry in front, which dense models carry along unused; they have no class
 * token itself.
 */
export function positionSpec(config: PvtV1Config, stage: number) {
  const [height, width] = gridSizes(config, config.imageSize)[stage]!;
  const channels = config.dims[stage]!;
  const last = stage === config.dims.length - 1;
  return {
    pos_embed: embedding(height * width + (last ? 1 : 0), channels, config.initRange),
    ...(last && config.classToken && { cls_token: embedding(1, channels, config.initRange) }),
  };
}

/**
 * Adds the position embeddings, resampled bilinearly to the tokens' grid, and puts the class token, if any,
 * in front.
 *
 * Each stage is compared with its own stored grid. The official code compares every stage with the first
 * one's, and so fails at 448x448 and adds a wrong embedding at 112x448.
 *
 * @param tokens [B, h·w, C]
 * @returns [B, h·w, C], or [B, 1 + h·w, C] with a class token
 */
export function addPosition(
  tokens: tf.Tensor3D,
  grid: Size,
  pos_embed: tf.Tensor3D,
  cls_token: tf.Tensor3D | undefined,
  config: PvtV1Config,
  stage: number,
): tf.Tensor3D {
  return tf.tidy(() => {
    const [height, width] = gridSizes(config, config.imageSize)[stage]!;
    const [batch, , channels] = tokens.shape;
    const extra = pos_embed.shape[1] - height * width;
    const onGrid = tf.slice(pos_embed, [0, extra, 0]);
    const map = resample(tf.reshape(onGrid, [1, height, width, channels]), grid, 'bilinear');
    const positioned = tf.add<tf.Tensor3D>(tokens, tf.reshape(map, [1, -1, channels]));
    if (cls_token === undefined) return positioned;
    const classToken = tf.add<tf.Tensor3D>(cls_token, tf.slice(pos_embed, [0, 0, 0], [1, 1, channels]));
    return tf.concat([tf.tile(classToken, [batch, 1, 1]), positioned], 1);
  });
}
