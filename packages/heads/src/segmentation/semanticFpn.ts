import type * as tf from '@tensorflow/tfjs-core';
import { ConfigError, pipe, resample, type Feature, type ParamSource } from '@pvt/core';
import { convModule, convModuleSpec } from '../convModule.ts';
import {
  addAndFree,
  classifyAndFree,
  createSegmentationHead,
  pixelClassifierSpec,
  resizeAndFree,
  sizeOfMap,
  type SegmentationConfig,
  type SegmentationHead,
} from './segmentation.ts';

/** How many times a level has to be doubled to reach the finest one's stride. */
const doublings = (features: readonly Feature[], level: number): number =>
  Math.log2(features[level]!.stride / features[0]!.stride);

/**
 * Convolutions have the even indices of `scale_heads.{level}`: mmsegmentation counts the upsamplings between
 * them.
 */
export const semanticFpnSpec = ({ features, classes, channels = 128 }: SegmentationConfig) => ({
  scale_heads: features.map((feature, level): Readonly<Record<string, ReturnType<typeof convModuleSpec>>> =>
    Object.fromEntries(
      Array.from({ length: Math.max(1, doublings(features, level)) }, (_, i) => [
        2 * i,
        convModuleSpec(i === 0 ? feature.channels : channels, channels, 3),
      ]),
    ),
  ),
  conv_seg: pixelClassifierSpec(channels, classes),
});

/** @throws ConfigError unless every stride is the first one times a power of two */
function checkStrides(features: readonly Feature[]): readonly Feature[] {
  const odd = features.find((_, level) => !Number.isInteger(doublings(features, level)));
  if (odd === undefined) return features;
  throw new ConfigError(
    'strides-invalid',
    `Semantic FPN: expected strides that double from ${features[0]!.stride}, got ${odd.stride}; ` +
      'leave that level out.',
  );
}

const doubleSize = (map: tf.Tensor4D): tf.Tensor4D =>
  resample(map, [2 * map.shape[1], 2 * map.shape[2]], 'bilinear');

/**
 * Semantic FPN's head (Kirillov et al., arXiv:1901.02446; mmsegmentation's `FPNHead`), which follows an FPN:
 * every level is convolved and doubled until it has the finest one's stride, and all are summed. `channels`
 * defaults to 128.
 *
 * @throws ConfigError for levels whose strides do not double, CheckpointError if the source does not fit
 * @example
 * const neck = createFpn({ features: backbone.features, channels: 256 }, scoped(source, 'neck'));
 * const head = createSemanticFpn({ features: neck.features, classes: 150 }, scoped(source, 'decode_head'));
 * const logits = head.forward(neck.forward(pyramid)); // [B, H / 4, W / 4, 150]
 */
export const createSemanticFpn = (
  config: SegmentationConfig,
  source: ParamSource,
): SegmentationHead<ReturnType<typeof semanticFpnSpec>> =>
  createSegmentationHead(config, source, {
    name: 'Semantic FPN',
    inputs: checkStrides,
    spec: semanticFpnSpec,
    forward(maps, { scale_heads, conv_seg }, context) {
      const scaled = maps.map((map, level) => {
        const isFinest = doublings(config.features, level) === 0;
        const steps = Object.values(scale_heads[level]!).flatMap((params) => [
          (t: tf.Tensor4D) => convModule(t, params, context),
          (t: tf.Tensor4D) => (isFinest ? t : doubleSize(t)),
        ]);
        return pipe(map, ...steps);
      });
      const size = sizeOfMap(scaled[0]!);
      const sum = scaled.reduce((total, map) => addAndFree(total, resizeAndFree(map, size)));
      return classifyAndFree(sum, conv_seg, config, context);
    },
  });
