import {
  ConfigError,
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
  createRetinaNet,
  retinaNetLoss,
  retinaNetRules,
  type DetectorParts,
} from '@pvt/heads';
import { disposeOnError, hasDetectionHead, isCheckpoint, readDetector } from '@pvt/tasks';
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

export interface DetectionLearnerOptions {
  readonly init: Initialization;
  /** Class names by index. */
  readonly names: readonly string[];
  /** Sides that images are brought to. */
  readonly size: InputSize;
  /** Width of a new neck and head. Default: 256 as published, or half of a narrow backbone's last stage. */
  readonly channels?: number;
  /**
   * Convolutions in front of each output of a new head. Default: 4 as published, or 2 on a narrow backbone.
   */
  readonly depth?: number;
  /**
   * Smallest anchor of a new head, in strides of its level, see {@link anchorScaleFor}. Default: 4, as
   * published.
   */
  readonly anchorScale?: number;
  /** Default: ImageNet's mean and standard deviation. */
  readonly normalize?: Normalization;
  /** Seed of a new neck's and head's parameters. Default: 0. */
  readonly seed?: number;
}

export interface DetectionLearner extends Learner<TrainingBatch<'detect'>> {
  /** With `createDetector(parts, options)`, the model can be used while it learns. */
  readonly parts: Parts;
  readonly options: DenseTaskOptions;
}

type Parts = DetectorParts & { readonly backbone: Pvt };

/** Stride of a RetinaNet's finest level. */
const finestStride = 8;

/**
 * The scale of anchors, 1, 2 or 4, at which the smallest ones are no larger than the small objects of a data
 * set.
 *
 * @param sides square roots of the objects' areas, in the input's pixels
 * @throws ConfigError `objects-missing` for no objects
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
  return [4, 2].find((scale) => scale * finestStride <= small * 1.25) ?? 1;
}

/**
 * A RetinaNet that learns. Objects marked as crowds are no targets.
 *
 * @throws CheckpointError if the initial weights do not fit their config, ConfigError for an impossible width
 * or depth
 * @example
 * const size = { shortSide: 240, longSide: 320, multiple: 32 };
 * const learner = createDetectionLearner({ init: checkpoint, names: ['red cell', 'white cell'], size });
 * const detector = await createDetector(learner.parts, learner.options);
 */
export function createDetectionLearner(options: DetectionLearnerOptions): DetectionLearner {
  const { names, size, normalize = imageNetNormalization } = options;
  const resize = trainingResize;
  const { parts, anchorScale } = checkpointParts(options) ?? {
    parts: newParts(options),
    anchorScale: options.anchorScale,
  };
  const { backbone, neck, head } = parts;
  const model = createDenseModel<DetectorParts>(parts);
  return {
    parts,
    models: { backbone, neck, bbox_head: head },
    options: { names, size, normalize, resize },
    loss: (batch, context) =>
      tf.tidy(() => {
        const [, height, width] = batch.shape;
        const targets = batch.targets.map((objects) => objects.filter(({ crowd }) => !crowd));
        const { classification, regression } = retinaNetLoss(
          model.forward(inputOf(batch), context),
          targets,
          { rules: head.config.rules, input: [height, width] },
        );
        return tf.add(classification, regression);
      }),
    encode: (weights, dtype = 'F32') =>
      encodeWeights(weights, {
        config: backbone.config,
        prefix: 'backbone.',
        header: { labels: names, input: { size, normalize, resize }, ...(anchorScale && { anchorScale }) },
        dtype,
      }),
    dispose: () => model.dispose(),
  };
}

/** The checkpoint's own parts and anchors, if it has a head of as many classes. */
function checkpointParts({
  init,
  names,
}: DetectionLearnerOptions): { readonly parts: Parts; readonly anchorScale: number | undefined } | undefined {
  if (!isCheckpoint(init) || !hasDetectionHead(init)) return undefined;
  const parts = readDetector(init);
  if (parts.head.config.classes === names.length) return { parts, anchorScale: init.header.anchorScale };
  createDenseModel(parts).dispose();
  return undefined;
}

function newParts({
  init,
  names,
  channels,
  depth,
  anchorScale = 4,
  seed = 0,
}: DetectionLearnerOptions): Parts {
  const source = randomInit(seed);
  return disposeOnError((track) => {
    const backbone = track(createBackbone(init));
    const width = backbone.config.dims.at(-1)!;
    const narrow = width < 256;
    const neckConfig = {
      features: backbone.features,
      channels: channels ?? (narrow ? width / 2 : 256),
      startLevel: 1,
      outputs: 5,
      extra: 'input',
    } as const;
    const neck = track(createFpn(neckConfig, scoped(source, 'neck')));
    const headConfig = {
      features: neck.features,
      classes: names.length,
      depth: depth ?? (narrow ? 2 : 4),
      rules: retinaNetRules(anchorScale),
    };
    const head = track(createRetinaNet(headConfig, scoped(source, 'bbox_head')));
    return { backbone, neck, head };
  });
}
