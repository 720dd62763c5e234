import type * as tf from '@tensorflow/tfjs-core';
import {
  adaptiveAveragePool,
  pipe,
  resample,
  type ForwardContext,
  type ParamSource,
  type ParamsOf,
  type Size,
} from '@pvt/core';
import { convModule, convModuleSpec } from '../convModule.ts';
import {
  addAndFree,
  classifyAndFree,
  concatAndFree,
  createSegmentationHead,
  pixelClassifierSpec,
  resizeAndFree,
  sizeOfMap,
  type SegmentationConfig,
  type SegmentationHead,
} from './segmentation.ts';

/** Sides that the coarsest map is pooled to. */
const poolSizes = [1, 2, 3, 6];

/**
 * Named as in mmsegmentation's `UPerHead`, whose pools are pairs: the convolution is the second module of
 * each.
 */
export function uperNetSpec({ features, classes, channels = 512 }: SegmentationConfig) {
  const deepest = features.at(-1)!.channels;
  const finer = features.slice(0, -1);
  return {
    psp_modules: poolSizes.map(() => ({ 1: convModuleSpec(deepest, channels, 1) })),
    bottleneck: convModuleSpec(deepest + poolSizes.length * channels, channels, 3),
    lateral_convs: finer.map((feature) => convModuleSpec(feature.channels, channels, 1)),
    fpn_convs: finer.map(() => convModuleSpec(channels, channels, 3)),
    fpn_bottleneck: convModuleSpec(features.length * channels, channels, 3),
    conv_seg: pixelClassifierSpec(channels, classes),
  };
}

type Params = ParamsOf<typeof uperNetSpec>;

/** Pyramid pooling: the coarsest map, concatenated with its average pools. */
function pyramidPooling(
  deepest: tf.Tensor4D,
  { psp_modules, bottleneck }: Params,
  context: ForwardContext,
): tf.Tensor4D {
  const size = sizeOfMap(deepest);
  const pools = poolSizes.map((side, i) =>
    pipe(
      deepest,
      (t) => adaptiveAveragePool(t, [side, side]),
      (t) => convModule(t, psp_modules[i]![1], context),
      (t) => resample(t, size, 'bilinear'),
    ),
  );
  const joined = concatAndFree([deepest.clone(), ...pools]);
  const pooled = convModule(joined, bottleneck, context);
  joined.dispose();
  return pooled;
}

/** From the coarsest level to the finest, adds each to the next finer one. */
function addTopDown(laterals: tf.Tensor4D[]): void {
  for (let i = laterals.length - 1; i > 0; i--) {
    const finer = laterals[i - 1]!;
    laterals[i - 1] = addAndFree(finer, resample(laterals[i]!, sizeOfMap(finer), 'bilinear'));
  }
}

/** A convolution of each level but the coarsest, all resized to one size; frees the laterals. */
const convolveLevels = (
  laterals: readonly tf.Tensor4D[],
  { fpn_convs }: Params,
  size: Size,
  context: ForwardContext,
): tf.Tensor4D[] =>
  laterals.map((lateral, i) => {
    const conv = fpn_convs[i];
    if (conv === undefined) return resizeAndFree(lateral, size);
    const level = convModule(lateral, conv, context);
    lateral.dispose();
    return resizeAndFree(level, size);
  });

/**
 * UPerNet's head (Xiao et al., arXiv:1807.10221; mmsegmentation's `UPerHead`): pyramid pooling of the
 * coarsest map, a feature pyramid network over all levels, and their fusion at the finest. `channels`
 * defaults to 512.
 *
 * @throws ConfigError for levels that describe no pyramid, CheckpointError if the source does not fit
 * @example
 * const head = createUperNet({ features: backbone.features, classes: 150 }, scoped(source, 'decode_head'));
 * const logits = head.forward(pyramid); // [B, H / 4, W / 4, 150]
 */
export const createUperNet = (
  config: SegmentationConfig,
  source: ParamSource,
): SegmentationHead<ReturnType<typeof uperNetSpec>> =>
  createSegmentationHead(config, source, {
    name: 'UPerNet',
    spec: uperNetSpec,
    forward(maps, params, context) {
      const pooled = pyramidPooling(maps.at(-1)!, params, context);
      const finer = maps.slice(0, -1).map((map, i) => convModule(map, params.lateral_convs[i]!, context));
      const laterals = [...finer, pooled];
      addTopDown(laterals);
      const levels = convolveLevels(laterals, params, sizeOfMap(laterals[0]!), context);
      const joined = concatAndFree(levels);
      const fused = convModule(joined, params.fpn_bottleneck, context);
      joined.dispose();
      return classifyAndFree(fused, params.conv_seg, config, context);
    },
  });
