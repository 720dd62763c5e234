import type * as tf from '@tensorflow/tfjs-core';
import { ConfigError, pipe, resample, type Feature, type ParamSource } from '@pvt/core';
import { convModule, convModuleSpec } from '../convModule.ts';
import {
  addAndFree,
  classifierSpec,
  classify,
  resizeAndFree,
  segmentationHead,
  sizeOfMap,
  type SegmentationConfig,
  type SegmentationHead,
} from './segmentation.ts';

/** How often a level is doubled to reach the finest one's stride. */
const doublings = (features: readonly Feature[], level: number): number =>
  Math.log2(features[level]!.stride / features[0]!.stride);

/** Convolutions sit at the even places of `scale_heads.{level}`: mmsegmentation counts the upsamplings between them. */
export const semanticFpnSpec = ({ features, classes, channels = 128 }: SegmentationConfig) => ({
  scale_heads: features.map((feature, level): Readonly<Record<string, ReturnType<typeof convModuleSpec>>> =>
    Object.fromEntries(
      Array.from({ length: Math.max(1, doublings(features, level)) }, (_, i) => [
        2 * i,
        convModuleSpec(i === 0 ? feature.channels : channels, channels, 3),
      ]),
    ),
  ),
  conv_seg: classifierSpec(channels, classes),
});

const checkDoublings = (features: readonly Feature[]): readonly Feature[] => {
  const odd = features.find((_, level) => !Number.isInteger(doublings(features, level)));
  if (odd === undefined) return features;
  throw new ConfigError(
    'strides-invalid',
    `Semantic FPN: expected strides that double from ${features[0]!.stride}, got ${odd.stride}; leave that level out.`,
  );
};

/**
 * Semantic FPN's head (Kirillov et al., arXiv:1901.02446; mmsegmentation's `FPNHead`): every level is convolved and doubled
 * until it has the finest one's stride, and all are summed. `channels` is 128 where absent. It follows an FPN.
 *
 * @throws ConfigError for levels whose strides do not double, CheckpointError where the source does not fit
 * @example
 * const neck = createFpn({ features: backbone.features, channels: 256 }, scoped(source, 'neck'));
 * const head = createSemanticFpn({ features: neck.features, classes: 150 }, scoped(source, 'decode_head'));
 * const logits = head.forward(neck.forward(pyramid)); // [B, H / 4, W / 4, 150]
 */
export function createSemanticFpn(
  config: SegmentationConfig,
  source: ParamSource,
): SegmentationHead<ReturnType<typeof semanticFpnSpec>> {
  const { features } = config;
  return segmentationHead(
    'Semantic FPN',
    config,
    { inputs: checkDoublings, spec: () => semanticFpnSpec(config) },
    source,
    (maps, { scale_heads, conv_seg }, context) => {
      const scaled = maps.map((map, level) => {
        const double = (t: tf.Tensor4D) =>
          doublings(features, level) === 0 ? t : resample(t, [2 * t.shape[1], 2 * t.shape[2]], 'bilinear');
        return pipe<tf.Tensor4D>(
          map,
          ...Object.values(scale_heads[level]!).flatMap((params) => [
            (t: tf.Tensor4D) => convModule(t, params, context),
            double,
          ]),
        );
      });
      const size = sizeOfMap(scaled[0]!);
      const sum = scaled.reduce((total, map) => addAndFree(total, resizeAndFree(map, size)));
      return classify(sum, conv_seg, config, context);
    },
  );
}
