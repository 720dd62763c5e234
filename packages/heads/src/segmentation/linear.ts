import { convolution, dropChannels, pipe, type ParamSource } from '@pvt/core';
import type * as tf from '@tensorflow/tfjs-core';
import {
  classifierSpec,
  segmentationHead,
  type SegmentationConfig,
  type SegmentationHead,
} from './segmentation.ts';

export const linearSegmentationSpec = ({ features, classes }: SegmentationConfig) => ({
  conv_seg: classifierSpec(features.at(-1)!.channels, classes),
});

/**
 * The least a segmentation head can be: one 1x1 convolution on the coarsest map, as a probe of what a backbone knows.
 *
 * @throws ConfigError for no levels or classes, CheckpointError where the source does not fit
 * @example
 * const head = createLinearSegmentation({ features: backbone.features, classes: 21 }, randomInit(1));
 */
export function createLinearSegmentation(
  config: SegmentationConfig,
  source: ParamSource,
): SegmentationHead<ReturnType<typeof linearSegmentationSpec>> {
  const { dropout = 0.1 } = config;
  return segmentationHead(
    'Linear segmentation',
    config,
    { inputs: (features) => features.slice(-1), spec: () => linearSegmentationSpec(config) },
    source,
    ([map], { conv_seg }, context) =>
      pipe(
        map!,
        (t: tf.Tensor4D) => dropChannels(t, dropout, context),
        (t: tf.Tensor4D) => convolution(t, conv_seg),
      ),
  );
}
