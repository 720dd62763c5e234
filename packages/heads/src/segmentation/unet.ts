import { resample, type Feature, type ParamSource } from '@pvt/core';
import { convModule, convModuleSpec } from '../convModule.ts';
import {
  classifierSpec,
  classify,
  concatAndFree,
  segmentationHead,
  sizeOfMap,
  type SegmentationConfig,
  type SegmentationHead,
} from './segmentation.ts';

/** Width after the step down to each level but the coarsest. */
const widthOf = ({ channels: width }: Feature, channels: number | undefined): number => channels ?? width;

/** `blocks.{i}` joins level i with what comes from the coarser ones. */
export function unetSpec({ features, classes, channels }: SegmentationConfig) {
  const widths = features.map((feature, i) =>
    i === features.length - 1 ? feature.channels : widthOf(feature, channels),
  );
  return {
    blocks: features.slice(0, -1).map((feature, i) => ({
      conv1: convModuleSpec(widths[i + 1]! + feature.channels, widths[i]!, 3),
      conv2: convModuleSpec(widths[i]!, widths[i]!, 3),
    })),
    conv_seg: classifierSpec(widths[0]!, classes),
  };
}

/**
 * A U-Net decoder (Ronneberger et al., arXiv:1505.04597) over any pyramid: from the coarsest level down, upsampled to the
 * next finer map's size, joined with it, two 3x3 convolutions. Each level keeps its width unless `channels` sets one for all.
 *
 * @throws ConfigError for levels that describe no pyramid, CheckpointError where the source does not fit
 * @example
 * const head = createUnet({ features: backbone.features, classes: 2 }, randomInit(1));
 * const logits = head.forward(pyramid); // [B, H / 4, W / 4, 2]
 */
export function createUnet(
  config: SegmentationConfig,
  source: ParamSource,
): SegmentationHead<ReturnType<typeof unetSpec>> {
  return segmentationHead(
    'U-Net',
    config,
    { inputs: (features) => features, spec: () => unetSpec(config) },
    source,
    (maps, { blocks, conv_seg }, context) => {
      let map = maps.at(-1)!.clone();
      for (let i = blocks.length - 1; i >= 0; i--) {
        const finer = maps[i]!;
        const joined = concatAndFree([resample(map, sizeOfMap(finer), 'bilinear'), finer.clone()]);
        map.dispose();
        const once = convModule(joined, blocks[i]!.conv1, context);
        joined.dispose();
        map = convModule(once, blocks[i]!.conv2, context);
        once.dispose();
      }
      return classify(map, conv_seg, config, context);
    },
  );
}
