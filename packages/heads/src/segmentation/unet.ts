import { resample, type ParamSource } from '@pvt/core';
import { convModule, convModuleSpec } from '../convModule.ts';
import {
  classifyAndFree,
  concatAndFree,
  createSegmentationHead,
  pixelClassifierSpec,
  sizeOfMap,
  type SegmentationConfig,
  type SegmentationHead,
} from './segmentation.ts';

/** `blocks.{i}` joins level i with the decoded coarser ones. */
export function unetSpec({ features, classes, channels }: SegmentationConfig) {
  const coarsest = features.at(-1)!.channels;
  const widths = [...features.slice(0, -1).map((feature) => channels ?? feature.channels), coarsest];
  return {
    blocks: features.slice(0, -1).map((feature, i) => ({
      conv1: convModuleSpec(widths[i + 1]! + feature.channels, widths[i]!, 3),
      conv2: convModuleSpec(widths[i]!, widths[i]!, 3),
    })),
    conv_seg: pixelClassifierSpec(widths[0]!, classes),
  };
}

/**
 * A U-Net decoder (Ronneberger et al., arXiv:1505.04597) over any pyramid. It starts at the coarsest level;
 * each step upsamples to the next finer map's size, concatenates both and convolves twice. `channels` sets
 * one width for all levels; by default each keeps its own.
 *
 * @throws ConfigError for levels that describe no pyramid, CheckpointError if the source does not fit
 * @example
 * const head = createUnet({ features: backbone.features, classes: 2 }, randomInit(1));
 * const logits = head.forward(pyramid); // [B, H / 4, W / 4, 2]
 */
export const createUnet = (
  config: SegmentationConfig,
  source: ParamSource,
): SegmentationHead<ReturnType<typeof unetSpec>> =>
  createSegmentationHead(config, source, {
    name: 'U-Net',
    spec: unetSpec,
    forward(maps, { blocks, conv_seg }, context) {
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
      return classifyAndFree(map, conv_seg, config, context);
    },
  });
