import { CheckpointError, createPvt, type Feature, type Pvt } from '@pvt/core';
import {
  createFpn,
  createLinearSegmentation,
  createSegFormer,
  createSemanticFpn,
  createUnet,
  createUperNet,
  fpnSpec,
  linearSegmentationSpec,
  segFormerSpec,
  semanticFpnSpec,
  unetSpec,
  uperNetSpec,
  type FpnConfig,
  type SegmentationConfig,
  type SegmentationHead,
  type SegmenterParts,
} from '@pvt/heads';
import type { Checkpoint, CompatibilityReport } from '@pvt/presets';
import {
  backboneConfig,
  countOf,
  featuresOf,
  findParts,
  prefixOf,
  shapeOf,
  type PartSpec,
} from './checkpoint.ts';
import { disposeOnError } from './parts.ts';

/** Every head that a checkpoint may hold, the more specific ones first. */
const heads = [
  {
    /** A parameter that only this head has. */
    marker: 'scale_heads.0.0.conv.weight',
    classifier: 'conv_seg',
    /** A parameter whose first axis is the head's width. */
    width: 'scale_heads.0.0.conv.weight',
    spec: semanticFpnSpec,
    create: createSemanticFpn,
    hasNeck: true,
  },
  {
    marker: 'psp_modules.0.1.conv.weight',
    classifier: 'conv_seg',
    width: 'bottleneck.conv.weight',
    spec: uperNetSpec,
    create: createUperNet,
    hasNeck: false,
  },
  {
    marker: 'linear_c.0.proj.weight',
    classifier: 'classifier',
    width: 'linear_fuse.weight',
    spec: segFormerSpec,
    create: createSegFormer,
    hasNeck: false,
  },
  {
    marker: 'blocks.0.conv1.conv.weight',
    classifier: 'conv_seg',
    width: undefined,
    spec: unetSpec,
    create: createUnet,
    hasNeck: false,
  },
  {
    marker: 'conv_seg.weight',
    classifier: 'conv_seg',
    width: undefined,
    spec: linearSegmentationSpec,
    create: createLinearSegmentation,
    hasNeck: false,
  },
] as const;

type Tensors = Checkpoint['tensors'];

const headOf = (tensors: Tensors) =>
  heads.find(({ marker }) => prefixOf(tensors, `decode_head.${marker}`) !== undefined);

/** Whether a checkpoint holds a segmentation head, under the names of mmsegmentation or transformers. */
export const hasSegmentationHead = ({ tensors }: Checkpoint): boolean => headOf(tensors) !== undefined;

/**
 * The parts of the segmenter in a checkpoint; their configs follow from the names and shapes of its
 * parameters.
 *
 * @throws CheckpointError `head-missing` if it has no segmentation head, and if a part lacks parameters
 * @example
 * const { backbone, neck, head, report } = readSegmenter(await loadCheckpoint('fpn_pvt_v2_b0_ade20k.pth'));
 */
export function readSegmenter(
  checkpoint: Checkpoint,
): SegmenterParts & { readonly backbone: Pvt; readonly report: CompatibilityReport } {
  const { tensors, model } = checkpoint;
  const found = headOf(tensors);
  if (found === undefined) {
    throw new CheckpointError(
      'head-missing',
      `createSegmenter: expected a checkpoint with a decode_head, got ${model ?? 'a backbone'} without; ` +
        "give a segmenter's checkpoint, or parts.",
    );
  }
  const prefix = prefixOf(tensors, `decode_head.${found.marker}`)!;
  const named = (rest: string) => `${prefix}decode_head.${rest}`;
  const config = backboneConfig(checkpoint);
  const neck = found.hasNeck ? neckOf(tensors, `${prefix}neck.`, featuresOf(config)) : undefined;
  const headConfig: SegmentationConfig = {
    features: neck?.outputs ?? featuresOf(config),
    classes: shapeOf(tensors, named(`${found.classifier}.weight`))[0]!,
    ...(found.width !== undefined && { channels: shapeOf(tensors, named(found.width))[0]! }),
  };
  const { sourceOf, report } = findParts(checkpoint, config, {
    ...(neck && { neck }),
    decode_head: { spec: found.spec(headConfig), prefix: named('') },
  });
  const parts = disposeOnError((track) => {
    const backbone = track(createPvt(config, sourceOf('backbone')));
    const fpn = neck && track(createFpn({ ...neck.config, features: backbone.features }, sourceOf('neck')));
    const { features } = fpn ?? backbone;
    const head: SegmentationHead = track(found.create({ ...headConfig, features }, sourceOf('decode_head')));
    return { backbone, ...(fpn && { neck: fpn }), head };
  });
  return { ...parts, report };
}

/** An FPN without extra levels, as semantic FPN has it below its head. */
function neckOf(
  tensors: Tensors,
  prefix: string,
  features: readonly Feature[],
): PartSpec & { readonly config: FpnConfig; readonly outputs: readonly Feature[] } {
  const levels = countOf(tensors, (i) => `${prefix}lateral_convs.${i}.conv.weight`);
  const channels = shapeOf(tensors, `${prefix}lateral_convs.0.conv.weight`)[0]!;
  const config = { features, channels, startLevel: features.length - levels };
  const outputs = features.slice(config.startLevel).map((feature) => ({ ...feature, channels }));
  return { spec: fpnSpec(config), prefix, config, outputs };
}
