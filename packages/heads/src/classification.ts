import * as tf from '@tensorflow/tfjs-core';
import {
  ConfigError,
  createModel,
  dropout,
  linear,
  linearSpec,
  pipe,
  pvt,
  pvtSpec,
  PvtError,
  ShapeError,
  type ForwardContext,
  type Model,
  type ParamSource,
  type PvtConfig,
} from '@pvt/core';
import { isCount } from './features.ts';
import { largest } from './retinanet/suppress.ts';

/** What a classification head is built from. */
export interface ClassificationConfig {
  /** Width of the embedding, as `backbone.features.at(-1).channels`. */
  readonly channels: number;
  readonly classes: number;
  /** Dropout rate in front of the linear layer, while training. */
  readonly dropout?: number;
}

/** Weight (classes, channels) and bias (classes), named as every PVT checkpoint's `head`. */
export const classificationSpec = ({ channels, classes }: ClassificationConfig) =>
  linearSpec(channels, classes);

/** From an embedding to one logit per class. */
export interface ClassificationHead extends Model<
  ReturnType<typeof classificationSpec>,
  (embedding: tf.Tensor2D, context?: ForwardContext) => tf.Tensor2D
> {
  readonly config: ClassificationConfig;
}

/**
 * The linear classifier that follows a backbone.
 *
 * @throws ConfigError for fewer than one class, CheckpointError where the source does not fit
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
      `Classification head: expected at least one class, got ${classes}; use the embedding itself where there is nothing to classify.`,
    );
  }
  const model = createModel(
    'Classification head',
    classificationSpec(config),
    source,
    (params) =>
      (embedding: tf.Tensor2D, context: ForwardContext = {}) => {
        if (embedding.rank !== 2 || embedding.shape[1] !== channels) {
          throw new ShapeError(
            'embedding-invalid',
            `Classification head: expected an embedding [batch, ${channels}], got [${embedding.shape}]; build the head for the width of its backbone.`,
          );
        }
        return pipe<tf.Tensor2D>(
          embedding,
          (t: tf.Tensor2D) => dropout(t, rate, context),
          (t: tf.Tensor2D) => linear(t, params),
        );
      },
  );
  return Object.defineProperties(model, {
    config: { value: config, enumerable: true },
  }) as unknown as ClassificationHead;
}

/** Every parameter of a backbone and its classifier, under the names of a canonical checkpoint. */
export const pvtClassifierSpec = (config: PvtConfig) => ({
  ...pvtSpec(config),
  head: classificationSpec({ channels: config.dims.at(-1)!, classes: config.classes }),
});

/** What a {@link PvtClassifier} may be asked for besides the logits. */
export interface ClassifierRequest {
  /** One per image: the index of its class, or, where the model has a single class, the number that it shall answer. */
  readonly labels?: readonly number[];
  /** Share of each target that is spread over all classes, in [0, 1). */
  readonly smoothing?: number;
}

/** A backbone and its classifier as one model. */
export interface PvtClassifier extends Model<
  ReturnType<typeof pvtClassifierSpec>,
  <R extends ClassifierRequest = Record<never, never>>(
    input: tf.Tensor4D,
    request?: R & ForwardContext,
  ) => { readonly logits: tf.Tensor2D } & (R extends { labels: readonly number[] }
    ? { readonly loss: tf.Scalar }
    : unknown)
> {
  readonly config: PvtConfig;
}

/**
 * The whole classifier as one object: images in, logits [B, classes] out, and the loss where labels are given.
 *
 * @throws ConfigError for a config without classes, CheckpointError where the source does not fit
 * @example
 * const model = createPvtClassifier(checkpoint.config, checkpoint.source);
 * const { logits, loss } = model.forward(input, { labels: [3, 7], smoothing: 0.1, training: true, random: createRandom(1) });
 */
export function createPvtClassifier(config: PvtConfig, source: ParamSource): PvtClassifier {
  if (!isCount(config.classes))
    throw new ConfigError(
      'classes-invalid',
      `PVT classifier: expected a config with at least one class, got ${config.classes}; use createPvt where there is nothing to classify.`,
    );
  const last = config.dims.length - 1;
  const model = createModel(
    'PVT classifier',
    pvtClassifierSpec(config),
    source,
    (params) =>
      (input: tf.Tensor4D, request: ClassifierRequest & ForwardContext = {}) => {
        const { pyramid, embedding } = pvt(input, params, config, { ...request, stages: [last] });
        tf.dispose(pyramid.map(({ tensor }) => tensor));
        const logits = linear(embedding!, params.head);
        embedding!.dispose();
        return request.labels === undefined
          ? { logits }
          : { logits, loss: classificationLoss(logits, request.labels, request) };
      },
  );
  return Object.defineProperties(model, {
    config: { value: config, enumerable: true },
  }) as unknown as PvtClassifier;
}

/**
 * Mean cross entropy with label smoothing (Szegedy et al., arXiv:1512.00567) over a batch; for a single class the mean
 * squared error, as Hugging Face's models compute it.
 *
 * @param logits [B, classes]
 * @param labels one per image, see {@link ClassifierRequest}
 * @throws ShapeError where labels and batch differ in number, ConfigError for a label that is no class
 * @example
 * const loss = classificationLoss(head.forward(embedding), [3, 7], { smoothing: 0.1 });
 */
export function classificationLoss(
  logits: tf.Tensor2D,
  labels: readonly number[],
  { smoothing = 0 }: { readonly smoothing?: number } = {},
): tf.Scalar {
  const [batch, classes] = logits.shape;
  if (labels.length !== batch)
    throw new ShapeError(
      'labels-misfit',
      `Classification loss: expected ${batch} labels, one per image, got ${labels.length}; pass as many.`,
    );
  if (classes === 1)
    return tf.tidy(() => tf.mean(tf.square(tf.sub(logits, tf.tensor2d([...labels], [batch, 1])))));
  if (!(smoothing >= 0 && smoothing < 1))
    throw new ConfigError(
      'smoothing-invalid',
      `Classification loss: expected smoothing in [0, 1), got ${smoothing}; use 0 for none.`,
    );
  const targets = new Float32Array(batch * classes).fill(smoothing / classes);
  for (const [i, label] of labels.entries()) {
    if (!isCount(label, 0) || label >= classes)
      throw new ConfigError(
        'label-invalid',
        `Classification loss: expected labels between 0 and ${classes - 1}, got ${label}; count classes from 0.`,
      );
    targets[i * classes + label]! += 1 - smoothing;
  }
  return tf.tidy(() =>
    tf.div(tf.sum(tf.mul(tf.logSoftmax(logits), tf.tensor2d(targets, [batch, classes]))), -batch),
  );
}

/** One of the best guesses about an image. */
export interface Prediction {
  /** Index of the class. */
  readonly label: number;
  /** The class's name, or its index as text where names are not known. */
  readonly name: string;
  /** Softmax over all classes, between 0 and 1. */
  readonly probability: number;
}

/**
 * The `count` best classes of each image, best first; equal ones in order. The logits are borrowed.
 *
 * @param logits [B, classes]
 * @throws PvtError `scores-nan` where a logit is no number
 * @example
 * const [[best]] = await topGuesses(head.forward(embedding), 5, names);
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
    if (row.some((value) => Number.isNaN(value)))
      throw new PvtError(
        'scores-nan',
        `topGuesses: expected logits that are numbers, got NaN for image ${i}; look for NaN in the input or the checkpoint.`,
      );
    const best = largest(row, count);
    const sum = row.reduce((total, value) => total + Math.exp(value - row[best[0]!]!), 0);
    return best.map((label) => ({
      label,
      name: names[label] ?? `${label}`,
      probability: Math.exp(row[label]! - row[best[0]!]!) / sum,
    }));
  });
}
