import { denseInput } from '@pvt/adapter-image';
import {
  CheckpointError,
  type ResizeMethod,
  createPvt,
  type Feature,
  type FeatureMap,
  type Image,
  type Pvt,
  type InputSize,
  type Normalization,
  imageNetNormalization,
} from '@pvt/core';
import {
  createFpn,
  createRetinaNet,
  detect,
  fpnSpec,
  retinaNetRules,
  retinaNetSpec,
  torchvisionFpnNames,
  torchvisionRetinaNetNames,
  torchvisionRules,
  type Detection,
  type Fpn,
  type FpnConfig,
  type RetinaNet,
  type RetinaNetLevel,
  type RetinaNetRules,
} from '@pvt/heads';
import type { Checkpoint, FitReport } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import { countOf, denseConfig, partsOf, prefixOf, shapeOf, readHeader } from './checkpoint.ts';
import { cocoNames, torchvisionCocoNames } from './names.ts';
import { blankImage, checkSize, toBatch, type Prepared } from './image.ts';
import {
  buildAll,
  forwardIn,
  inBatches,
  isCheckpoint,
  warmed,
  type CheckpointLike,
  type Platform,
  type RunOptions,
  type Task,
  type TaskOptions,
} from './task.ts';

/** What a detector may be told at each call. */
export interface DetectorThresholds {
  /** Least score of an object. */
  readonly scoreThreshold?: number;
  /** Of two objects of a class that overlap by more, intersection over union, the better stays. */
  readonly iouThreshold?: number;
  /** Objects per image, at most. */
  readonly maxDetections?: number;
}

export interface DetectorOptions extends TaskOptions, DetectorThresholds {
  /** Sides of the model's input in pixels; where absent as the checkpoint says, else 800 and 1333 in multiples of 32, as published detectors. */
  readonly size?: Partial<InputSize>;
  /** As the checkpoint says where absent, else ImageNet's. */
  readonly normalize?: Normalization;
  /** The library whose resize the model was trained with. Default: as the checkpoint says, else its naming's. */
  readonly resize?: ResizeMethod;
}

/** Anything that turns an input into a pyramid. */
export interface Backbone {
  readonly features: readonly Feature[];
  forward(input: tf.Tensor4D): { readonly pyramid: readonly FeatureMap[]; readonly embedding?: tf.Tensor };
  dispose(): void;
}

/** A detector's parts, of one's own or anybody's. The task disposes of them. */
export interface DetectorParts {
  readonly backbone: Backbone;
  readonly neck: Fpn;
  readonly head: RetinaNet;
}

/** An object with its class's name, or the class's index as text where names are not known. */
export interface NamedDetection extends Detection {
  readonly name: string;
}

export interface Detector<S> extends Task {
  readonly parts: DetectorParts;
  /** The objects in one image, or in each of several, best first, boxes in the image's own pixels. */
  detect(image: S | Image, options?: RunOptions & DetectorThresholds): Promise<NamedDetection[]>;
  detect(
    images: readonly (S | Image)[],
    options?: RunOptions & DetectorThresholds,
  ): Promise<NamedDetection[][]>;
  /** One image's head outputs, level by level, and how it lies in the model's input; the tensors are the caller's. */
  forward(image: S | Image): Promise<{ readonly levels: RetinaNetLevel[]; readonly prepared: Prepared }>;
}

/** A parameter that only mmdetection's RetinaNet has, and one that only torchvision's has. */
const marks = ['bbox_head.retina_cls.weight', 'head.classification_head.cls_logits.weight'] as const;

export const hasDetectionHead = ({ tensors }: Checkpoint): boolean =>
  marks.some((mark) => prefixOf(tensors, mark) !== undefined);

/** Neck, head and report of a checkpoint with mmdetection's or torchvision's names; configs are read off the shapes. */
export function detectorOf(
  checkpoint: Checkpoint,
): DetectorParts & { readonly backbone: Pvt; readonly report: FitReport } {
  const { tensors } = checkpoint;
  const [mmdet, torchvision] = marks.map((mark) => prefixOf(tensors, mark));
  if (mmdet === undefined && torchvision === undefined) {
    throw new CheckpointError(
      'head-missing',
      `createDetector: expected a checkpoint with bbox_head.retina_cls (mmdetection) or head.classification_head (torchvision), got ${checkpoint.model ?? 'a backbone'} without; give a detector's checkpoint, or parts.`,
    );
  }
  const config = denseConfig(checkpoint);
  const widths = config.dims;
  const features: Feature[] = widths.map((channels, i) => ({
    name: `stage${i + 1}`,
    stride: config.strides.slice(0, i + 1).reduce((a, b) => a * b, 1),
    channels,
  }));
  const layout = mmdet !== undefined ? mmdetLayout(tensors, mmdet) : torchvisionLayout(tensors, torchvision!);
  const startLevel = widths.length - layout.levels;
  const [, firstExtra] = layout.extra === undefined ? [] : shapeOf(tensors, layout.extra);
  // Where C5 is as wide as the pyramid, shapes do not tell: the official configs take C5, torchvision P5.
  const fromInput =
    mmdet !== undefined
      ? firstExtra === widths.at(-1)
      : firstExtra === widths.at(-1) && firstExtra !== layout.channels;
  const neckConfig: FpnConfig = {
    features,
    channels: layout.channels,
    startLevel,
    outputs: layout.outputs,
    ...(layout.extra !== undefined && { extra: fromInput ? 'input' : 'output' }),
    reluBeforeExtra: mmdet === undefined,
  };
  const rules = mmdet !== undefined ? retinaNetRules(readHeader(checkpoint).anchorScale) : torchvisionRules;
  const levels: Feature[] = Array.from({ length: layout.outputs }, (_, i) => ({
    name: '',
    stride: features[startLevel]!.stride * 2 ** i,
    channels: layout.channels,
  }));
  const headConfig = { features: levels, classes: layout.classes, depth: layout.depth, rules };
  const { sourceOf, report } = partsOf(checkpoint, config, {
    neck: { spec: fpnSpec(neckConfig), ...layout.neck },
    bbox_head: { spec: retinaNetSpec(headConfig), ...layout.head },
  });
  return {
    ...buildAll((maxDetections) => {
      const backbone = maxDetections(createPvt(config, sourceOf('backbone')));
      const neck = maxDetections(createFpn({ ...neckConfig, features: backbone.features }, sourceOf('neck')));
      return {
        backbone,
        neck,
        head: maxDetections(
          createRetinaNet({ ...headConfig, features: neck.features }, sourceOf('bbox_head')),
        ),
      };
    }),
    report,
  };
}

type Tensors = Checkpoint['tensors'];

/** Anchors per cell of every published RetinaNet. */
const anchors = 9;

function mmdetLayout(tensors: Tensors, prefix: string) {
  const neck = (rest: string) => `${prefix}neck.${rest}`;
  const head = (rest: string) => `${prefix}bbox_head.${rest}`;
  const levels = countOf(tensors, (i) => neck(`lateral_convs.${i}.conv.weight`));
  const convolutions = countOf(tensors, (i) => neck(`fpn_convs.${i}.conv.weight`));
  return {
    levels,
    channels: shapeOf(tensors, neck('lateral_convs.0.conv.weight'))[0]!,
    // Five levels whatever makes them: without convolutions of their own they are pooled.
    outputs: Math.max(5, convolutions),
    extra: convolutions > levels ? neck(`fpn_convs.${levels}.conv.weight`) : undefined,
    classes: shapeOf(tensors, head('retina_cls.weight'))[0]! / anchors,
    depth: countOf(tensors, (i) => head(`cls_convs.${i}.conv.weight`)),
    neck: { prefix: neck('') },
    head: { prefix: head('') },
  };
}

function torchvisionLayout(tensors: Tensors, prefix: string) {
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

export async function detectorOn<S>(
  platform: Platform<S>,
  from: CheckpointLike | DetectorParts,
  options: DetectorOptions = {},
): Promise<Detector<S>> {
  const { warmUp = true, batch = 1 } = options;
  const given = typeof from === 'object' && 'head' in from ? (from as DetectorParts) : undefined;
  const checkpoint =
    given !== undefined
      ? undefined
      : isCheckpoint(from)
        ? from
        : await platform.loadCheckpoint(from as Exclude<typeof from, DetectorParts | Checkpoint>, {
            ...options,
            classes: 0,
          });
  const told = checkpoint === undefined ? {} : readHeader(checkpoint);
  const normalize = options.normalize ?? told.input?.normalize ?? imageNetNormalization;
  const size = checkSize('createDetector', {
    shortSide: 800,
    longSide: 1333,
    multiple: 32,
    ...told.input?.size,
    ...options.size,
  });
  const { report, ...parts }: DetectorParts & { readonly report?: FitReport } =
    given ?? detectorOf(checkpoint!);
  const { backbone, neck, head } = parts;
  const { classes, rules } = head.config;
  const names =
    options.names ??
    told.labels ??
    (classes === cocoNames.length
      ? cocoNames
      : classes === torchvisionCocoNames.length
        ? torchvisionCocoNames
        : []);
  const published: ResizeMethod = rules.nmsSpace === 'input' ? 'torchvision' : 'opencv';
  const resize = options.resize ?? told.input?.resize ?? published;

  const model = await forwardIn(options.runner, [backbone, neck, head], (input) =>
    head.forward(neck.forward(backbone.forward(input).pyramid)),
  );
  const forward = (inputs: readonly Prepared[]): Promise<RetinaNetLevel[]> => model.run(toBatch(inputs));
  const prepare = async (source: S | Image, signal?: AbortSignal): Promise<Prepared> =>
    denseInput(await platform.openImage(source as S, signal), { size, resize, normalize });
  const run = async (
    inputs: readonly Prepared[],
    thresholds: RetinaNetRules,
  ): Promise<NamedDetection[][]> => {
    const levels = await forward(inputs);
    try {
      const found = await detect(levels, {
        rules: thresholds,
        input: inputs[0]!.size,
        images: inputs.map(({ placement }) => placement),
      });
      return found.map((objects) =>
        objects.map((object) => ({ ...object, name: names[object.label] || `${object.label}` })),
      );
    } finally {
      tf.dispose(levels as unknown as tf.TensorContainer);
    }
  };
  const detectAll = (
    sources: readonly (S | Image)[],
    { signal, ...call }: RunOptions & DetectorThresholds = {},
  ) => {
    const {
      scoreThreshold = options.scoreThreshold ?? rules.scoreThreshold,
      iouThreshold = options.iouThreshold ?? rules.iouThreshold,
      maxDetections = options.maxDetections ?? rules.maxDetections,
    } = call;
    return inBatches(
      sources,
      { batch, signal },
      (source) => prepare(source, signal),
      (input) => input.size.join(),
      (inputs) => run(inputs, { ...rules, scoreThreshold, iouThreshold, maxDetections }),
    );
  };
  const firstRun = () => run([denseInput(blankImage, { size: [64, 64], resize, normalize })], rules);
  const task: Detector<S> = {
    parts,
    names,
    ...(report && { report }),
    detect: (async (
      sources: S | Image | readonly (S | Image)[],
      options?: RunOptions & DetectorThresholds,
    ) =>
      Array.isArray(sources)
        ? detectAll(sources, options)
        : (await detectAll([sources as S], options))[0]!) as Detector<S>['detect'],
    async forward(source) {
      const prepared = await prepare(source);
      return { levels: await forward([prepared]), prepared };
    },
    dispose: () => model.dispose(),
  };
  return warmed(task, warmUp ? firstRun : undefined);
}
