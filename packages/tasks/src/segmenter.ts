import { denseInput, type DenseInputOptions } from '@pvt/adapter-image';
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
  type LabelMap,
  imageNetNormalization,
} from '@pvt/core';
import {
  createFpn,
  createLinearSegmentation,
  createSegFormer,
  createSemanticFpn,
  createUnet,
  createUperNet,
  fpnSpec,
  labelMaps,
  linearSegmentationSpec,
  segFormerSpec,
  semanticFpnSpec,
  unetSpec,
  uperNetSpec,
  type Fpn,
  type SegmentationConfig,
  type SegmentationHead,
} from '@pvt/heads';
import type { Checkpoint, FitReport } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import { countOf, denseConfig, partsOf, prefixOf, shapeOf, readHeader } from './checkpoint.ts';
import type { Backbone } from './detector.ts';
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

export interface SegmenterOptions extends TaskOptions {
  /** Sides of the model's input in pixels; where absent as the checkpoint says, else 512 and 2048, stretched to multiples of 32, as the official code. */
  readonly size?: Partial<InputSize>;
  /** As the checkpoint says where absent, else ImageNet's. */
  readonly normalize?: Normalization;
  /**
   * The library whose resize the model was trained with. Default: as the checkpoint says, else `opencv`, with a second
   * resize to multiples as mmsegmentation's `AlignResize`; the others pad.
   */
  readonly resize?: ResizeMethod;
}

/** A segmenter's parts, of one's own or anybody's. The task disposes of them. */
export interface SegmenterParts {
  readonly backbone: Backbone;
  /** Between backbone and head, where the head wants one. */
  readonly neck?: Fpn;
  readonly head: SegmentationHead;
}

export interface SegmentOptions extends RunOptions {
  /** Whether each pixel's probability is wanted too. */
  readonly scores?: boolean;
}

export interface Segmenter<S> extends Task {
  readonly parts: SegmenterParts;
  /** The class of every pixel of one image, or of each of several, at the image's own size. */
  segment(image: S | Image, options?: SegmentOptions): Promise<LabelMap>;
  segment(images: readonly (S | Image)[], options?: SegmentOptions): Promise<LabelMap[]>;
  /** One image's logits [1, h, w, classes], the caller's, and how it lies in the model's input. */
  forward(image: S | Image): Promise<{ readonly logits: tf.Tensor4D; readonly prepared: Prepared }>;
}

type Tensors = Checkpoint['tensors'];

/** Each head by a parameter that only it has, with the classifier's and the width's places. */
const heads = [
  {
    mark: 'scale_heads.0.0.conv.weight',
    classifier: 'conv_seg',
    width: 'scale_heads.0.0.conv.weight',
    spec: semanticFpnSpec,
    create: createSemanticFpn,
    onNeck: true,
  },
  {
    mark: 'psp_modules.0.1.conv.weight',
    classifier: 'conv_seg',
    width: 'bottleneck.conv.weight',
    spec: uperNetSpec,
    create: createUperNet,
    onNeck: false,
  },
  {
    mark: 'linear_c.0.proj.weight',
    classifier: 'classifier',
    width: 'linear_fuse.weight',
    spec: segFormerSpec,
    create: createSegFormer,
    onNeck: false,
  },
  {
    mark: 'blocks.0.conv1.conv.weight',
    classifier: 'conv_seg',
    width: undefined,
    spec: unetSpec,
    create: createUnet,
    onNeck: false,
  },
  {
    mark: 'conv_seg.weight',
    classifier: 'conv_seg',
    width: undefined,
    spec: linearSegmentationSpec,
    create: createLinearSegmentation,
    onNeck: false,
  },
] as const;

const kindOf = (tensors: Tensors) =>
  heads.find(({ mark }) => prefixOf(tensors, `decode_head.${mark}`) !== undefined);

export const hasSegmentationHead = ({ tensors }: Checkpoint): boolean => kindOf(tensors) !== undefined;

/** Neck, head and report of a checkpoint with mmsegmentation's or transformers' names; configs are read off the shapes. */
export function segmenterOf(
  checkpoint: Checkpoint,
): SegmenterParts & { readonly backbone: Pvt; readonly report: FitReport } {
  const { tensors } = checkpoint;
  const kind = kindOf(tensors);
  if (kind === undefined) {
    throw new CheckpointError(
      'head-missing',
      `createSegmenter: expected a checkpoint with a decode_head, got ${checkpoint.model ?? 'a backbone'} without; give a segmenter's checkpoint, or parts.`,
    );
  }
  const prefix = prefixOf(tensors, `decode_head.${kind.mark}`)!;
  const head = (rest: string) => `${prefix}decode_head.${rest}`;
  const config = denseConfig(checkpoint);
  const features: Feature[] = config.dims.map((channels, i) => ({
    name: `stage${i + 1}`,
    stride: config.strides.slice(0, i + 1).reduce((a, b) => a * b, 1),
    channels,
  }));
  const neck = kind.onNeck ? neckOf(tensors, `${prefix}neck.`, features) : undefined;
  const levels: readonly Feature[] =
    neck === undefined
      ? features
      : features
          .slice(neck.config.startLevel)
          .map((feature) => ({ ...feature, channels: neck.config.channels }));
  const headConfig: SegmentationConfig = {
    features: levels,
    classes: shapeOf(tensors, head(`${kind.classifier}.weight`))[0]!,
    ...(kind.width !== undefined && { channels: shapeOf(tensors, head(kind.width))[0]! }),
  };
  const { sourceOf, report } = partsOf(checkpoint, config, {
    ...(neck && { neck: { spec: fpnSpec(neck.config), prefix: neck.prefix } }),
    decode_head: { spec: kind.spec(headConfig), prefix: head('') },
  });
  return {
    ...buildAll((keep) => {
      const backbone = keep(createPvt(config, sourceOf('backbone')));
      const between =
        neck && keep(createFpn({ ...neck.config, features: backbone.features }, sourceOf('neck')));
      const last = keep(
        kind.create(
          { ...headConfig, features: between === undefined ? backbone.features : between.features },
          sourceOf('decode_head'),
        ) as SegmentationHead,
      );
      return { backbone, ...(between && { neck: between }), head: last };
    }),
    report,
  };
}

function neckOf(tensors: Tensors, prefix: string, features: readonly Feature[]) {
  const levels = countOf(tensors, (i) => `${prefix}lateral_convs.${i}.conv.weight`);
  const [channels] = shapeOf(tensors, `${prefix}lateral_convs.0.conv.weight`) as [number];
  return { prefix, config: { features, channels, startLevel: features.length - levels } };
}

export async function segmenterOn<S>(
  platform: Platform<S>,
  from: CheckpointLike | SegmenterParts,
  options: SegmenterOptions = {},
): Promise<Segmenter<S>> {
  const { warmUp = true, batch = 1 } = options;
  const given = typeof from === 'object' && 'head' in from ? (from as SegmenterParts) : undefined;
  const checkpoint =
    given !== undefined
      ? undefined
      : isCheckpoint(from)
        ? from
        : await platform.loadCheckpoint(from as Exclude<typeof from, SegmenterParts | Checkpoint>, {
            ...options,
            classes: 0,
          });
  const told = checkpoint === undefined ? {} : readHeader(checkpoint);
  const names = options.names ?? told.labels ?? [];
  const normalize = options.normalize ?? told.input?.normalize ?? imageNetNormalization;
  const size = checkSize('createSegmenter', {
    shortSide: 512,
    longSide: 2048,
    multiple: 32,
    ...told.input?.size,
    ...options.size,
  });
  const { report, ...parts }: SegmenterParts & { readonly report?: FitReport } =
    given ?? segmenterOf(checkpoint!);
  const { backbone, neck, head } = parts;

  const model = await forwardIn(options.runner, [backbone, ...(neck ? [neck] : []), head], (input) => {
    const { pyramid } = backbone.forward(input);
    const levels: readonly FeatureMap[] = neck === undefined ? pyramid : neck.forward(pyramid);
    return head.forward(levels);
  });
  const forward = (inputs: readonly Prepared[]): Promise<tf.Tensor4D> => model.run(toBatch(inputs));
  const resize = options.resize ?? told.input?.resize ?? 'opencv';
  const input: DenseInputOptions = {
    size,
    resize,
    normalize,
    align: resize === 'opencv' ? 'stretch' : 'pad',
  };
  const prepare = async (source: S | Image, signal?: AbortSignal): Promise<Prepared> =>
    denseInput(await platform.openImage(source as S, signal), input);
  const run = async (inputs: readonly Prepared[], scores: boolean): Promise<LabelMap[]> => {
    const logits = await forward(inputs);
    try {
      const alike = inputs.every(
        ({ placement }) => placement.originalSize.join() === inputs[0]!.placement.originalSize.join(),
      );
      if (alike) {
        const [{ size, placement }] = inputs as [Prepared];
        const { contentSize, originalSize } = placement;
        return await labelMaps(logits, [size, originalSize], { scores, contentSize });
      }
      const results: LabelMap[] = [];
      for (const [i, { size, placement }] of inputs.entries()) {
        const one = tf.slice(logits, [i, 0, 0, 0], [1, -1, -1, -1]);
        const { contentSize, originalSize } = placement;
        results.push(...(await labelMaps(one, [size, originalSize], { scores, contentSize })));
        one.dispose();
      }
      return results;
    } finally {
      logits.dispose();
    }
  };
  const segmentAll = (sources: readonly (S | Image)[], { signal, scores = false }: SegmentOptions = {}) =>
    inBatches(
      sources,
      { batch, signal },
      (source) => prepare(source, signal),
      (input) => input.size.join(),
      (inputs) => run(inputs, scores),
    );
  const firstRun = () => run([denseInput(blankImage, { ...input, size: [64, 64] })], false);
  const task: Segmenter<S> = {
    parts,
    names,
    ...(report && { report }),
    segment: (async (sources: S | Image | readonly (S | Image)[], options?: SegmentOptions) =>
      Array.isArray(sources)
        ? segmentAll(sources, options)
        : (await segmentAll([sources as S], options))[0]!) as Segmenter<S>['segment'],
    async forward(source) {
      const prepared = await prepare(source);
      return { logits: await forward([prepared]), prepared };
    },
    dispose: () => model.dispose(),
  };
  return warmed(task, warmUp ? firstRun : undefined);
}
