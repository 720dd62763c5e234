import { CheckpointError, createPvt, type Feature, type Pvt } from '@pvt/core';
import {
  createFpn,
  createRetinaNet,
  fpnSpec,
  retinaNetRules,
  retinaNetSpec,
  torchvisionFpnNames,
  torchvisionRetinaNetNames,
  torchvisionRules,
  type DetectorParts,
  type FpnConfig,
  type RetinaNetConfig,
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

type Tensors = Checkpoint['tensors'];

/** A parameter that only mmdetection's RetinaNet has, and one that only torchvision's has. */
const markers = {
  mmdetection: 'bbox_head.retina_cls.weight',
  torchvision: 'head.classification_head.cls_logits.weight',
} as const;

/** Whether a checkpoint holds a RetinaNet, under the names of mmdetection or torchvision. */
export const hasDetectionHead = ({ tensors }: Checkpoint): boolean =>
  Object.values(markers).some((marker) => prefixOf(tensors, marker) !== undefined);

/** What the names and shapes of a checkpoint say about its neck and head. */
interface Layout {
  readonly implementation: keyof typeof markers;
  /** Stages of the backbone that the pyramid is built from, counted from the last. */
  readonly levels: number;
  /** Levels of the pyramid. */
  readonly outputs: number;
  readonly channels: number;
  /** Name of the first convolution that makes an extra level. Absent if extra levels are pooled. */
  readonly extra: string | undefined;
  readonly classes: number;
  readonly depth: number;
  readonly neck: Omit<PartSpec, 'spec'>;
  readonly head: Omit<PartSpec, 'spec'>;
}

/**
 * The parts of the detector in a checkpoint; their configs follow from the names and shapes of its
 * parameters.
 *
 * @throws CheckpointError `head-missing` if it has no RetinaNet, and if a part lacks parameters
 * @example
 * const { backbone, neck, head, report } = readDetector(await loadCheckpoint('retinanet_pvt_v2_b0.pth'));
 */
export function readDetector(
  checkpoint: Checkpoint,
): DetectorParts & { readonly backbone: Pvt; readonly report: CompatibilityReport } {
  const layout = layoutOf(checkpoint);
  const config = backboneConfig(checkpoint);
  const neckConfig = neckConfigOf(checkpoint, layout, featuresOf(config));
  const headConfig = headConfigOf(checkpoint, layout, neckConfig);
  const { sourceOf, report } = findParts(checkpoint, config, {
    neck: { spec: fpnSpec(neckConfig), ...layout.neck },
    bbox_head: { spec: retinaNetSpec(headConfig), ...layout.head },
  });
  const parts = disposeOnError((track) => {
    const backbone = track(createPvt(config, sourceOf('backbone')));
    const neck = track(createFpn({ ...neckConfig, features: backbone.features }, sourceOf('neck')));
    const head = track(createRetinaNet({ ...headConfig, features: neck.features }, sourceOf('bbox_head')));
    return { backbone, neck, head };
  });
  return { ...parts, report };
}

function layoutOf({ tensors, model }: Checkpoint): Layout {
  const mmdetection = prefixOf(tensors, markers.mmdetection);
  if (mmdetection !== undefined) return mmdetectionLayout(tensors, mmdetection);
  const torchvision = prefixOf(tensors, markers.torchvision);
  if (torchvision !== undefined) return torchvisionLayout(tensors, torchvision);
  throw new CheckpointError(
    'head-missing',
    'createDetector: expected a checkpoint with bbox_head.retina_cls (mmdetection) or ' +
      `head.classification_head (torchvision), got ${model ?? 'a backbone'} without; ` +
      "give a detector's checkpoint, or parts.",
  );
}

function neckConfigOf(
  { tensors }: Checkpoint,
  { implementation, levels, channels, outputs, extra }: Layout,
  features: readonly Feature[],
): FpnConfig {
  const shared = {
    features,
    channels,
    startLevel: features.length - levels,
    outputs,
    reluBeforeExtra: implementation === 'torchvision',
  };
  if (extra === undefined) return shared;
  const [, extraInputs] = shapeOf(tensors, extra);
  const lastChannels = features.at(-1)!.channels;
  // If C5 is as wide as the pyramid, shapes do not tell: the official configs take C5, torchvision takes P5.
  const fromInput =
    extraInputs === lastChannels && (implementation === 'mmdetection' || extraInputs !== channels);
  return { ...shared, extra: fromInput ? 'input' : 'output' };
}

function headConfigOf(
  { header }: Checkpoint,
  { implementation, outputs, channels, classes, depth }: Layout,
  { features, startLevel = 0 }: FpnConfig,
): RetinaNetConfig {
  const rules = implementation === 'mmdetection' ? retinaNetRules(header.anchorScale) : torchvisionRules;
  const levels = Array.from({ length: outputs }, (_, i) => ({
    name: '',
    stride: features[startLevel]!.stride * 2 ** i,
    channels,
  }));
  return { features: levels, classes, depth, rules };
}

/** Anchors per cell of every published RetinaNet. */
const anchors = 9;

function mmdetectionLayout(tensors: Tensors, prefix: string): Layout {
  const neck = (rest: string) => `${prefix}neck.${rest}`;
  const head = (rest: string) => `${prefix}bbox_head.${rest}`;
  const levels = countOf(tensors, (i) => neck(`lateral_convs.${i}.conv.weight`));
  const convolutions = countOf(tensors, (i) => neck(`fpn_convs.${i}.conv.weight`));
  return {
    implementation: 'mmdetection',
    levels,
    channels: shapeOf(tensors, neck('lateral_convs.0.conv.weight'))[0]!,
    // There are always five levels: those without a convolution of their own are pooled.
    outputs: Math.max(5, convolutions),
    extra: convolutions > levels ? neck(`fpn_convs.${levels}.conv.weight`) : undefined,
    classes: shapeOf(tensors, head('retina_cls.weight'))[0]! / anchors,
    depth: countOf(tensors, (i) => head(`cls_convs.${i}.conv.weight`)),
    neck: { prefix: neck('') },
    head: { prefix: head('') },
  };
}

function torchvisionLayout(tensors: Tensors, prefix: string): Layout {
  const neck = (rest: string) => `${prefix}backbone.fpn.${rest}`;
  const head = (rest: string) => `${prefix}head.${rest}`;
  const either = (name: string, older: string) => (tensors.has(name) ? name : older);
  const levels = Math.max(
    countOf(tensors, (i) => neck(`inner_blocks.${i}.0.weight`)),
    countOf(tensors, (i) => neck(`inner_blocks.${i}.weight`)),
  );
  const extra = neck('extra_blocks.p6.weight');
  const depth = countOf(tensors, (i) =>
    either(head(`classification_head.conv.${i}.0.weight`), head(`classification_head.conv.${2 * i}.weight`)),
  );
  return {
    implementation: 'torchvision',
    levels,
    channels: shapeOf(tensors, either(neck('inner_blocks.0.0.weight'), neck('inner_blocks.0.weight')))[0]!,
    outputs: levels + (tensors.has(extra) ? 2 : 1),
    extra: tensors.has(extra) ? extra : undefined,
    classes: shapeOf(tensors, head('classification_head.cls_logits.weight'))[0]! / anchors,
    depth,
    neck: { prefix: neck(''), names: torchvisionFpnNames(levels) },
    head: { prefix: head(''), names: torchvisionRetinaNetNames(depth) },
  };
}
