import type { ParamSource } from '@pvt/core';
import {
  classifyPixels,
  createSegmentationHead,
  pixelClassifierSpec,
  type SegmentationConfig,
  type SegmentationHead,
} from './segmentation.ts';

export const linearSegmentationSpec = ({ features, classes }: SegmentationConfig) => ({
  conv_seg: pixelClassifierSpec(features.at(-1)!.channels, classes),
});

/**
 * The smallest segmentation head: one 1x1 convolution on the coarsest map, as a linear probe of a backbone.
 *
 * @throws ConfigError for no levels or classes, CheckpointError if the source does not fit
 * @example
 * const head = createLinearSegmentation({ features: backbone.features, classes: 21 }, randomInit(1));
 */
export const createLinearSegmentation = (
  config: SegmentationConfig,
  source: ParamSource,
): SegmentationHead<ReturnType<typeof linearSegmentationSpec>> =>
  createSegmentationHead(config, source, {
    name: 'Linear segmentation',
    inputs: (features) => features.slice(-1),
    spec: linearSegmentationSpec,
    forward: ([map], { conv_seg }, context) => classifyPixels(map!, conv_seg, config, context),
  });
