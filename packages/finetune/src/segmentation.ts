import {
  imageNetNormalization,
  randomInit,
  scoped,
  type InputSize,
  type Normalization,
  type Pvt,
} from '@pvt/core';
import {
  createDenseModel,
  createFpn,
  createLinearSegmentation,
  createSegFormer,
  createSemanticFpn,
  createUnet,
  createUperNet,
  segmentationLoss,
  type SegmentationHead,
  type SegmenterParts,
} from '@pvt/heads';
import { disposeOnError, hasSegmentationHead, isCheckpoint, readSegmenter } from '@pvt/tasks';
import * as tf from '@tensorflow/tfjs-core';
import {
  createBackbone,
  encodeWeights,
  inputOf,
  trainingResize,
  type Initialization,
  type DenseTaskOptions,
  type Learner,
  type TrainingBatch,
} from './learner.ts';

const heads = {
  unet: createUnet,
  semanticFpn: createSemanticFpn,
  segFormer: createSegFormer,
  uperNet: createUperNet,
  linear: createLinearSegmentation,
} as const;

/** The heads that a new segmenter may have. */
export type SegmentationHeadName = keyof typeof heads;
export const segmentationHeads = Object.keys(heads) as readonly SegmentationHeadName[];

export interface SegmentationLearnerOptions {
  readonly init: Initialization;
  /** Class names by index. */
  readonly names: readonly string[];
  /** Sides that images are brought to. */
  readonly size: InputSize;
  /**
   * Head of a new segmenter; a checkpoint with a head of as many classes retains its own. Default: `unet`.
   */
  readonly head?: SegmentationHeadName;
  /** Width of a new neck and head. Default: the head's own. */
  readonly channels?: number;
  /** Default: ImageNet's mean and standard deviation. */
  readonly normalize?: Normalization;
  /** Seed of a new head's parameters. Default: 0. */
  readonly seed?: number;
}

export interface SegmentationLearner extends Learner<TrainingBatch<'segment'>> {
  /** With `createSegmenter(parts, options)`, the model can be used while it learns. */
  readonly parts: SegmenterParts & { readonly backbone: Pvt };
  readonly options: DenseTaskOptions;
}

/**
 * A segmenter that learns.
 *
 * @throws CheckpointError if the initial weights do not fit their config, ConfigError for an impossible width
 * @example
 * const size = { shortSide: 256, longSide: 512, multiple: 32 };
 * const learner = createSegmentationLearner({ init: checkpoint, names: ['background', 'nucleus'], size });
 * const segmenter = await createSegmenter(learner.parts, learner.options);
 */
export function createSegmentationLearner(options: SegmentationLearnerOptions): SegmentationLearner {
  const { names, size, normalize = imageNetNormalization } = options;
  const resize = trainingResize;
  const parts = checkpointParts(options) ?? newParts(options);
  const { backbone, neck, head } = parts;
  const model = createDenseModel<SegmenterParts>(parts);
  return {
    parts,
    models: { backbone, ...(neck && { neck }), decode_head: head },
    options: { names, size, normalize, resize },
    loss: (batch, context) =>
      tf.tidy(() => segmentationLoss(model.forward(inputOf(batch), context), batch.targets)),
    encode: (weights, dtype = 'F32') =>
      encodeWeights(weights, {
        config: backbone.config,
        prefix: 'backbone.',
        header: { labels: names, input: { size, normalize, resize } },
        dtype,
      }),
    dispose: () => model.dispose(),
  };
}

/** The checkpoint's own parts, if it has a head of as many classes. */
function checkpointParts({
  init,
  names,
}: SegmentationLearnerOptions): SegmentationLearner['parts'] | undefined {
  if (!isCheckpoint(init) || !hasSegmentationHead(init)) return undefined;
  const parts = readSegmenter(init);
  if (parts.head.config.classes === names.length) return parts;
  createDenseModel(parts).dispose();
  return undefined;
}

function newParts({
  init,
  names,
  head: headName = 'unet',
  channels,
  seed = 0,
}: SegmentationLearnerOptions): SegmentationLearner['parts'] {
  const source = randomInit(seed);
  return disposeOnError((track) => {
    const backbone = track(createBackbone(init));
    const neck =
      headName === 'semanticFpn'
        ? track(createFpn({ features: backbone.features, channels: channels ?? 256 }, scoped(source, 'neck')))
        : undefined;
    const { features } = neck ?? backbone;
    const config = { features, classes: names.length, ...(channels !== undefined && { channels }) };
    const head: SegmentationHead = track(heads[headName](config, scoped(source, 'decode_head')));
    return { backbone, ...(neck && { neck }), head };
  });
}
