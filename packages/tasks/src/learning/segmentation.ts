import {
  type ResizeMethod,
  randomInit,
  scoped,
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
  segmentationLoss,
  type SegmentationHead,
} from '@pvt/heads';
import * as tf from '@tensorflow/tfjs-core';
import { hasSegmentationHead, segmenterOf, type SegmenterParts } from '../segmenter.ts';
import { buildAll, disposeAll, isCheckpoint } from '../task.ts';
import { backboneOf, encode, inputOf, type Learner, type Start } from './learner.ts';

const heads = {
  unet: createUnet,
  semanticFpn: createSemanticFpn,
  segFormer: createSegFormer,
  uperNet: createUperNet,
  linear: createLinearSegmentation,
} as const;

/** The heads that a segmenter may learn with. */
export const segmentationHeads = Object.keys(heads) as readonly (keyof typeof heads)[];
export type SegmentationHeadName = keyof typeof heads;

export interface SegmentationLearnerOptions {
  readonly from: Start;
  /** Names of the classes by index. */
  readonly names: readonly string[];
  /** Sides that images are brought to. */
  readonly size: InputSize;
  /** A U-Net where absent. A checkpoint with a head of as many classes keeps its own. */
  readonly head?: SegmentationHeadName;
  /** Width inside of the head; see each head for what it is where absent. */
  readonly channels?: number;
  readonly normalize?: Normalization;
  /** Of a new head's numbers. */
  readonly seed?: number;
}

export interface SegmentationLearner extends Learner<LabelMap> {
  /** For `createSegmenter(parts, options)`, which uses the model while it learns. */
  readonly parts: Parts;
  readonly options: {
    readonly names: readonly string[];
    readonly size: InputSize;
    readonly normalize: Normalization;
    readonly resize: ResizeMethod;
  };
}

type Parts = SegmenterParts & { readonly backbone: Pvt };

function newParts({ from, names, head = 'unet', channels, seed = 0 }: SegmentationLearnerOptions): Parts {
  const source = randomInit(seed);
  return buildAll((keep) => {
    const backbone = keep(backboneOf(from));
    const neck =
      head === 'semanticFpn'
        ? keep(createFpn({ features: backbone.features, channels: channels ?? 256 }, scoped(source, 'neck')))
        : undefined;
    const config = {
      features: (neck ?? backbone).features,
      classes: names.length,
      ...(channels !== undefined && { channels }),
    };
    return {
      backbone,
      ...(neck && { neck }),
      head: keep(heads[head](config, scoped(source, 'decode_head')) as SegmentationHead),
    };
  });
}

/** The checkpoint's own parts, where it has a head of as many classes. */
function keptParts({ from, names }: SegmentationLearnerOptions): Parts | undefined {
  if (!isCheckpoint(from) || !hasSegmentationHead(from)) return undefined;
  const parts = segmenterOf(from);
  if (parts.head.config.classes === names.length) return parts;
  disposeAll([parts.backbone, ...(parts.neck ? [parts.neck] : []), parts.head]);
  return undefined;
}

/**
 * A segmenter that learns.
 *
 * @throws CheckpointError where the checkpoint does not fit its config, ConfigError for a width that is none
 * @example
 * const learner = createSegmentationLearner({ from: checkpoint, names: ['background', 'nucleus'], size: { shortSide: 256, longSide: 512, multiple: 32 } });
 * const segmenter = await createSegmenter(learner.parts, learner.options);
 */
export function createSegmentationLearner(options: SegmentationLearnerOptions): SegmentationLearner {
  const { names, size, normalize = imageNetNormalization } = options;
  const parts = keptParts(options) ?? newParts(options);
  const { backbone, neck, head } = parts;
  const resize = 'pillow';
  return {
    parts,
    models: { backbone, ...(neck && { neck }), decode_head: head },
    options: { names, size, normalize, resize },
    loss: (batch, context) =>
      tf.tidy(() => {
        const { pyramid } = backbone.forward(inputOf(batch), context);
        return segmentationLoss(
          head.forward(neck === undefined ? pyramid : neck.forward(pyramid), context),
          batch.targets,
        );
      }),
    encode: (weights, dtype) =>
      encode(
        weights,
        'backbone.',
        backbone.config,
        { labels: names, input: { size, normalize, resize } },
        dtype,
      ),
    dispose: () => disposeAll([backbone, ...(neck ? [neck] : []), head]),
  };
}
