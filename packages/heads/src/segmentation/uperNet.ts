import type * as tf from '@tensorflow/tfjs-core';
import { adaptiveAveragePool, pipe, resample, type ParamSource } from '@pvt/core';
import { convModule, convModuleSpec } from '../convModule.ts';
import {
  addAndFree,
  classifierSpec,
  classify,
  concatAndFree,
  resizeAndFree,
  segmentationHead,
  sizeOfMap,
  type SegmentationConfig,
  type SegmentationHead,
} from './segmentation.ts';

/** Sides that the coarsest map is pooled to. */
const poolSizes = [1, 2, 3, 6];

/** Named as mmsegmentation's `UPerHead`, whose pools are the first half of a pair. */
export function uperNetSpec({ features, classes, channels = 512 }: SegmentationConfig) {
  const deepest = features.at(-1)!.channels;
  const finer = features.slice(0, -1);
  return {
    psp_modules: poolSizes.map(() => ({ 1: convModuleSpec(deepest, channels, 1) })),
    bottleneck: convModuleSpec(deepest + poolSizes.length * channels, channels, 3),
    lateral_convs: finer.map((feature) => convModuleSpec(feature.channels, channels, 1)),
    fpn_convs: finer.map(() => convModuleSpec(channels, channels, 3)),
    fpn_bottleneck: convModuleSpec(features.length * channels, channels, 3),
    conv_seg: classifierSpec(channels, classes),
  };
}

/**
 * UPerNet's head (Xiao et al., arXiv:1807.10221; mmsegmentation's `UPerHead`): the coarsest map beside its average pools,
 * a pyramid network over all levels, and their fusion at the finest. `channels` is 512 where absent.
 *
 * @throws ConfigError for levels that describe no pyramid, CheckpointError where the source does not fit
 * @example
 * const head = createUperNet({ features: backbone.features, classes: 150 }, scoped(source, 'decode_head'));
 * const logits = head.forward(pyramid); // [B, H / 4, W / 4, 150]
 */
export function createUperNet(
  config: SegmentationConfig,
  source: ParamSource,
): SegmentationHead<ReturnType<typeof uperNetSpec>> {
  return segmentationHead(
    'UPerNet',
    config,
    { inputs: (features) => features, spec: () => uperNetSpec(config) },
    source,
    (maps, params, context) => {
      const deepest = maps.at(-1)!;
      const size = sizeOfMap(deepest);
      const pools = poolSizes.map((side, i) =>
        pipe<tf.Tensor4D>(
          deepest,
          (t: tf.Tensor4D) => adaptiveAveragePool(t, [side, side]),
          (t: tf.Tensor4D) => convModule(t, params.psp_modules[i]![1], context),
          (t: tf.Tensor4D) => resample(t, size, 'bilinear'),
        ),
      );
      const joined = concatAndFree([deepest.clone(), ...pools]);
      const laterals = [
        ...maps.slice(0, -1).map((map, i) => convModule(map, params.lateral_convs[i]!, context)),
        convModule(joined, params.bottleneck, context),
      ];
      joined.dispose();
      for (let i = laterals.length - 1; i > 0; i--) {
        laterals[i - 1] = addAndFree(
          laterals[i - 1]!,
          resample(laterals[i]!, sizeOfMap(laterals[i - 1]!), 'bilinear'),
        );
      }
      const finest = sizeOfMap(laterals[0]!);
      const levels = laterals.map((lateral, i) => {
        if (i === laterals.length - 1) return resizeAndFree(lateral, finest);
        const level = convModule(lateral, params.fpn_convs[i]!, context);
        lateral.dispose();
        return resizeAndFree(level, finest);
      });
      const all = concatAndFree(levels);
      const fused = convModule(all, params.fpn_bottleneck, context);
      all.dispose();
      return classify(fused, params.conv_seg, config, context);
    },
  );
}
