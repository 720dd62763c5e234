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
  classifierSpec,
  classify,
  concatAndFree,
  segmentationHead,
  sizeOfMap,
  type SegmentationConfig,
  type SegmentationHead,
} from './segmentation.ts';

/** Named as transformers' `SegformerDecodeHead`. */
export const segFormerSpec = ({ features, classes, channels = 256 }: SegmentationConfig) => ({
  linear_c: features.map((feature) => ({ proj: linearSpec(feature.channels, channels) })),
  linear_fuse: convolutionSpec(features.length * channels, channels, 1, 'fanOut', { bias: false }),
  batch_norm: batchNormSpec(channels),
  classifier: classifierSpec(channels, classes),
});

/**
 * SegFormer's all-MLP head (Xie et al., arXiv:2105.15203; transformers' `SegformerDecodeHead`): one linear layer per level,
 * all brought to the finest's size, joined coarse to fine, fused by a 1x1 convolution. `channels` is 256 where absent.
 *
 * @throws ConfigError for levels that describe no pyramid, CheckpointError where the source does not fit
 * @example
 * const head = createSegFormer({ features: backbone.features, classes: 150 }, scoped(source, 'decode_head'));
 * const logits = head.forward(pyramid); // [B, H / 4, W / 4, 150]
 */
export function createSegFormer(
  config: SegmentationConfig,
  source: ParamSource,
): SegmentationHead<ReturnType<typeof segFormerSpec>> {
  return segmentationHead(
    'SegFormer',
    config,
    { inputs: (features) => features, spec: () => segFormerSpec(config) },
    source,
    (maps, params, context) => {
      const size = sizeOfMap(maps[0]!);
      const levels = maps.map((map, i) =>
        pipe<tf.Tensor4D>(
          map,
          (t: tf.Tensor4D) => linear(t, params.linear_c[i]!.proj),
          (t: tf.Tensor4D) => resample(t, size, 'bilinear'),
        ),
      );
      const joined = concatAndFree(levels.reverse());
      const fused = pipe<tf.Tensor4D>(
        joined,
        (t: tf.Tensor4D) => convolution(t, params.linear_fuse),
        (t: tf.Tensor4D) => batchNorm(t, params.batch_norm, 1e-5, context),
        tf.relu,
      );
      joined.dispose();
      return classify(fused, params.classifier, config, context);
    },
  );
}
