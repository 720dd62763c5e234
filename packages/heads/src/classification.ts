import * as tf from '@tensorflow/tfjs-core';
import {
  classifierSpec,
  ConfigError,
  createModel,
  dropout,
  linear,
  pipe,
  pvt,
  pvtClassifierSpec,
  PvtError,
  ShapeError,
  type ForwardContext,
  type Model,
  type ParamSource,
  type PvtConfig,
} from '@pvt/core';
import { isCount } from './features.ts';
import { topKIndices } from './topK.ts';

export interface ClassificationConfig {
  /** Width of the embedding, such as `backbone.features.at(-1).channels`. */
  readonly channels: number;
  readonly classes: number;
  /** Dropout rate in front of the linear layer, while training. Default: 0. */
  readonly dropout?: number;
}

/** From an embedding to one logit per class. */
export interface ClassificationHead extends Model<
  ReturnType<typeof classifierSpec>,
  (embedding: tf.Tensor2D, context?: ForwardContext) => tf.Tensor2D
> {
  readonly config: ClassificationConfig;
}

/**
 * The linear classifier that follows a backbone, named as every PVT checkpoint's `head`.
 *
 * @throws ConfigError for fewer than one class, CheckpointError if the source does not fit
 * @example
 * const head = createClassificationHead({ channels: 256, classes: 1000 }, scoped(source, 'head'));
 * const logits = head.forward(backbone.forward(input).embedding); // [B, 1000]
 */
export function createClassificationHead(
  config: ClassificationConfig,
  source: ParamSource,
): ClassificationHead {
  const { channels, classes, dropout: rate = 0 } = config;
  if (!isCount(classes)) {
    throw new ConfigError(
      'classes-invalid',
      `Classification head: expected at least one class, got ${classes}; ` +
        'use the embedding itself if there is nothing to classify.',
    );
  }
  const checkEmbedding = ({ rank, shape }: tf.Tensor): void => {
    if (rank === 2 && shape[1] === channels) return;
    throw new ShapeError(
      'embedding-invalid',
      `Classification head: expected an embedding [batch, ${channels}], got [${shape}]; ` +
        'build the head for the width of its backbone.',
    );
  };
  return createModel(
    'Classification head',
    classifierSpec(channels, classes),
    source,
    (params) =>
      (embedding: tf.Tensor2D, context: ForwardContext = {}) => {
        checkEmbedding(embedding);
        return pipe(
          embedding,
          (t) => dropout(t, rate, context),
          (t) => linear(t, params),
        );
      },
    { config },
  );
}

/** What a {@link PvtClassifier} computes besides the logits. */
export interface ClassifierRequest {
  /**
   * For the loss, one per image: the index of its class, or for a model with a single class the number to
   * predict.
   */
  readonly labels?: readonly number[];
  /** Label smoothing: the share of each target that is spread over all classes, in [0, 1). Default: 0. */
  readonly smoothing?: number;
}

/** Logits [B, classes], and the mean loss if labels were given. */
export type ClassifierOutput<R extends ClassifierRequest> = { readonly logits: tf.Tensor2D } & (R extends {
  labels: readonly number[];
}
  ? { readonly loss: tf.Scalar }
  : unknown);

/** A backbone and its classifier as one model. */
export interface PvtClassifier extends Model<
  ReturnType<typeof pvtClassifierSpec>,
  <R extends ClassifierRequest = Record<never, never>>(
    input: tf.Tensor4D,
    request?: R & ForwardContext,
  ) => ClassifierOutput<R>
> {
  readonly config: PvtConfig;
}

/**
 * The whole classifier as one model: from images to logits [B, classes], and to the loss if labels are given.
 *
 * @throws ConfigError for a config without classes, CheckpointError if the source does not fit
 * @example
 * const model = createPvtClassifier(checkpoint.config, checkpoint.source);
 * const context = { training: true, random: createRandom(1) };
 * const { logits, loss } = model.forward(input, { labels: [3, 7], smoothing: 0.1, ...context });
 */
export function createPvtClassifier(config: PvtConfig, source: ParamSource): PvtClassifier {
  if (!isCount(config.classes)) {
    throw new ConfigError(
      'classes-invalid',
      `PVT classifier: expected a config with at least one class, got ${config.classes}; ` +
        'use createPvt if there is nothing to classify.',
    );
  }
  const last = config.dims.length - 1;
  return createModel(
    'PVT classifier',
    pvtClassifierSpec(config),
    source,
    (params) =>
      <R extends ClassifierRequest = Record<never, never>>(
        input: tf.Tensor4D,
        request = {} as R & ForwardContext,
      ): ClassifierOutput<R> => {
        const context: ForwardContext = request;
        const { pyramid, embedding } = pvt(input, params, config, { ...context, stages: [last] });
        tf.dispose(pyramid.map(({ tensor }) => tensor));
        const logits = linear(embedding!, params.head!);
        embedding!.dispose();
        const { labels } = request;
        const loss = labels && classificationLoss(logits, labels, request);
        return { logits, ...(loss && { loss }) } as ClassifierOutput<R>;
      },
    { config },
  );
}

/**
 * Mean cross entropy with label smoothing (Szegedy et al., arXiv:1512.00567) over a batch; for a single class
 * the mean squared error, as Hugging Face's models compute it.
 *
 * @param logits [B, classes]
 * @param labels one per image, see {@link ClassifierRequest}
 * @throws ShapeError if there is not one label per image, ConfigError for a label that is no class
 * @example
 * const loss = classificationLoss(head.forward(embedding), [3, 7], { smoothing: 0.1 });
 */
export function classificationLoss(
  logits: tf.Tensor2D,
  labels: readonly number[],
  { smoothing = 0 }: { readonly smoothing?: number } = {},
): tf.Scalar {
  const [batch, classes] = logits.shape;
  if (labels.length !== batch) {
    throw new ShapeError(
      'labels-misfit',
      `Classification loss: expected ${batch} labels, one per image, got ${labels.length}; pass as many.`,
    );
  }
  if (classes === 1)
    return tf.tidy(() => tf.mean(tf.square(tf.sub(logits, tf.tensor2d([...labels], [batch, 1])))));
  const targets = smoothedTargets(labels, classes, smoothing);
  return tf.tidy(() =>
    tf.div(tf.sum(tf.mul(tf.logSoftmax(logits), tf.tensor2d(targets, [batch, classes]))), -batch),
  );
}

/** Target probabilities of each class, [B, classes] row-major. */
function smoothedTargets(labels: readonly number[], classes: number, smoothing: number): Float32Array {
  if (!(smoothing >= 0 && smoothing < 1)) {
    throw new ConfigError(
      'smoothing-invalid',
      `Classification loss: expected smoothing in [0, 1), got ${smoothing}; use 0 for none.`,
    );
  }
  const targets = new Float32Array(labels.length * classes).fill(smoothing / classes);
  for (const [i, label] of labels.entries()) {
    if (!isCount(label, 0) || label >= classes) {
      throw new ConfigError(
        'label-invalid',
        `Classification loss: expected labels between 0 and ${classes - 1}, got ${label}; ` +
          'count classes from 0.',
      );
    }
    targets[i * classes + label]! += 1 - smoothing;
  }
  return targets;
}

/** One of the most probable classes of an image. */
export interface Prediction {
  /** Index of the class. */
  readonly label: number;
  /** The class's name; its index as text if there is none. */
  readonly name: string;
  /** Softmax over all classes, between 0 and 1. */
  readonly probability: number;
}

/**
 * The `count` most probable classes of each image, best first, equal ones in order. The logits are borrowed.
 *
 * @param logits [B, classes]
 * @throws PvtError `scores-nan` if a logit is NaN
 * @example
 * const [[best]] = await topK(head.forward(embedding), 5, names);
 */
export async function topK(
  logits: tf.Tensor2D,
  count: number,
  names: readonly string[] = [],
): Promise<Prediction[][]> {
  const [batch, classes] = logits.shape;
  const values = (await logits.data()) as Float32Array;
  return Array.from({ length: batch }, (_, i) => {
    const row = values.subarray(i * classes, (i + 1) * classes);
    if (row.some((value) => Number.isNaN(value))) {
      throw new PvtError(
        'scores-nan',
        `topK: expected logits that are numbers, got NaN for image ${i}; ` +
          'look for NaN in the input or the checkpoint.',
      );
    }
    const best = topKIndices(row, count);
    const sum = row.reduce((total, value) => total + Math.exp(value - row[best[0]!]!), 0);
    return best.map((label) => ({
      label,
      name: names[label] ?? `${label}`,
      probability: Math.exp(row[label]! - row[best[0]!]!) / sum,
    }));
  });
}
