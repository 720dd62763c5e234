import * as tf from '@tensorflow/tfjs-core';
import {
  batchNorm,
  batchNormSpec,
  convolution,
  convolutionSpec,
  linear,
  linearSpec,
  pipe,
  resample,
  type ParamSource,
} from '@pvt/core';
import {
  classifyAndFree,
  concatAndFree,
  createSegmentationHead,
  pixelClassifierSpec,
  sizeOfMap,
  type SegmentationConfig,
  type SegmentationHead,
} from './segmentation.ts';

/** Named as in transformers' `SegformerDecodeHead`. */
export const segFormerSpec = ({ features, classes, channels = 256 }: SegmentationConfig) => ({
  linear_c: features.map((feature) => ({ proj: linearSpec(feature.channels, channels) })),
  linear_fuse: convolutionSpec(features.length * channels, channels, 1, 'fanOut', { bias: false }),
  batch_norm: batchNormSpec(channels),
  classifier: pixelClassifierSpec(channels, classes),
});

/**
 * SegFormer's all-MLP head (Xie et al., arXiv:2105.15203; transformers' `SegformerDecodeHead`): one linear
 * layer per level, all resized to the finest one, concatenated coarse to fine, and fused by a 1x1
 * convolution. `channels` defaults to 256.
 *
 * @throws ConfigError for levels that describe no pyramid, CheckpointError if the source does not fit
 * @example
 * const head = createSegFormer({ features: backbone.features, classes: 150 }, scoped(source, 'decode_head'));
 * const logits = head.forward(pyramid); // [B, H / 4, W / 4, 150]
 */
export const createSegFormer = (
  config: SegmentationConfig,
  source: ParamSource,
): SegmentationHead<ReturnType<typeof segFormerSpec>> =>
  createSegmentationHead(config, source, {
    name: 'SegFormer',
    spec: segFormerSpec,
    forward(maps, params, context) {
      const size = sizeOfMap(maps[0]!);
      const levels = maps.map((map, i) =>
        pipe(
          map,
          (t) => linear(t, params.linear_c[i]!.proj),
          (t) => resample(t, size, 'bilinear'),
        ),
      );
      const joined = concatAndFree(levels.reverse());
      const fused = pipe(
        joined,
        (t) => convolution(t, params.linear_fuse),
        (t) => batchNorm(t, params.batch_norm, 1e-5, context),
        (t) => tf.relu(t),
      );
      joined.dispose();
      return classifyAndFree(fused, params.classifier, config, context);
    },
  });
