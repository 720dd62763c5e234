import {
  type ResizeMethod,
  ConfigError,
  randomInit,
  scoped,
  type Pvt,
  type InputSize,
  type Normalization,
  type LabelledBox,
  imageNetNormalization,
} from '@pvt/core';
import { createFpn, createRetinaNet, retinaNetLoss, retinaNetRules } from '@pvt/heads';
import * as tf from '@tensorflow/tfjs-core';
import { readHeader } from '../checkpoint.ts';
import { detectorOf, hasDetectionHead, type DetectorParts } from '../detector.ts';
import { buildAll, disposeAll, isCheckpoint } from '../task.ts';
import { backboneOf, encode, inputOf, type Learner, type Start } from './learner.ts';

export interface DetectionLearnerOptions {
  readonly from: Start;
  /** Names of the classes by index. */
  readonly names: readonly string[];
  /** Sides that images are brought to. */
  readonly size: InputSize;
  /** Width of neck and head; where absent 256 as published, or half of a narrow backbone's last stage. */
  readonly channels?: number;
  /** Convolutions in front of each output; where absent 4 as published, 2 on a narrow backbone. */
  readonly depth?: number;
  /** Smallest anchor in strides of its level, see {@link anchorScaleFor}; 4 where absent, as published. */
  readonly anchorScale?: number;
  readonly normalize?: Normalization;
  /** Of a new neck's and head's numbers. */
  readonly seed?: number;
}

export interface DetectionLearner extends Learner<readonly LabelledBox[]> {
  /** For `createDetector(parts, options)`, which uses the model while it learns. */
  readonly parts: Parts;
  readonly options: {
    readonly names: readonly string[];
    readonly size: InputSize;
    readonly normalize: Normalization;
    readonly resize: ResizeMethod;
  };
}

type Parts = DetectorParts & { readonly backbone: Pvt };

/** The finest stride that a RetinaNet looks at. */
const finest = 8;

/**
 * The scale of anchors, 1, 2 or 4, at which the smallest ones are no larger than small objects of a data set.
 *
 * @param sides square roots of the objects' areas, in the input's pixels
 * @example
 * anchorScaleFor([18, 22, 90]); // 2
 */
export function anchorScaleFor(sides: readonly number[]): number {
  if (sides.length === 0)
    throw new ConfigError(
      'objects-missing',
      'anchorScaleFor: expected the sizes of some objects, got none; give those of the training images.',
    );
  const small = [...sides].sort((a, b) => a - b)[Math.floor(sides.length / 20)]!;
  return [4, 2].find((scale) => scale * finest <= small * 1.25) ?? 1;
}

function newParts({
  from,
  names,
  channels,
  depth,
  anchorScale = 4,
  seed = 0,
}: DetectionLearnerOptions): Parts {
  const source = randomInit(seed);
  return buildAll((keep) => {
    const backbone = keep(backboneOf(from));
    const width = backbone.config.dims.at(-1)!;
    const narrow = width < 256;
    const neck = keep(
      createFpn(
        {
          features: backbone.features,
          channels: channels ?? (narrow ? width / 2 : 256),
          startLevel: 1,
          outputs: 5,
          extra: 'input',
        },
        scoped(source, 'neck'),
      ),
    );
    const head = keep(
      createRetinaNet(
        {
          features: neck.features,
          classes: names.length,
          depth: depth ?? (narrow ? 2 : 4),
          rules: retinaNetRules(anchorScale),
        },
        scoped(source, 'bbox_head'),
      ),
    );
    return { backbone, neck, head };
  });
}

/** The checkpoint's own parts and anchors, where it has a head of as many classes. */
function keptParts({
  from,
  names,
}: DetectionLearnerOptions): { readonly parts: Parts; readonly anchorScale: number | undefined } | undefined {
  if (!isCheckpoint(from) || !hasDetectionHead(from)) return undefined;
  const parts = detectorOf(from);
  if (parts.head.config.classes === names.length) return { parts, anchorScale: readHeader(from).anchorScale };
  disposeAll([parts.backbone, parts.neck, parts.head]);
  return undefined;
}

/**
 * A RetinaNet that learns.
 *
 * @throws CheckpointError where the checkpoint does not fit its config, ConfigError for a width or depth that is none
 * @example
 * const learner = createDetectionLearner({ from: checkpoint, names: ['red cell', 'white cell'], size: { shortSide: 240, longSide: 320, multiple: 32 }, anchorScale: 2 });
 * const detector = await createDetector(learner.parts, learner.options);
 */
export function createDetectionLearner(options: DetectionLearnerOptions): DetectionLearner {
  const { names, size, normalize = imageNetNormalization } = options;
  const { parts, anchorScale } = keptParts(options) ?? {
    parts: newParts(options),
    anchorScale: options.anchorScale,
  };
  const { backbone, neck, head } = parts;
  const resize = 'pillow';
  return {
    parts,
    models: { backbone, neck, bbox_head: head },
    options: { names, size, normalize, resize },
    loss: (batch, context) =>
      tf.tidy(() => {
        const { pyramid } = backbone.forward(inputOf(batch), context);
        const [, height, width] = batch.shape;
        const objects = batch.targets.map((some) => some.filter(({ crowd }) => !crowd));
        const { classification, regression } = retinaNetLoss(head.forward(neck.forward(pyramid)), objects, {
          rules: head.config.rules,
          input: [height, width],
        });
        return tf.add(classification, regression);
      }),
    encode: (weights, dtype) =>
      encode(
        weights,
        'backbone.',
        backbone.config,
        { labels: names, input: { size, normalize, resize }, ...(anchorScale && { anchorScale }) },
        dtype,
      ),
    dispose: () => disposeAll([backbone, neck, head]),
  };
}
