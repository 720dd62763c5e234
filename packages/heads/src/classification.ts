import type * as tf from '@tensorflow/tfjs-core';
import { ConfigError, createModel, dropout, linear, linearSpec, pipe, ShapeError, type ForwardContext, type Model, type ParamSource } from '@pvt/core';

/** What a classification head is built from. */
export interface ClassificationConfig {
  /** Width of the embedding, as `backbone.features.at(-1).channels`. */
  readonly channels: number;
  readonly classes: number;
  /** Dropout rate in front of the linear layer, while training. */
  readonly dropout?: number;
}

/** Weight (classes, channels) and bias (classes), named as every PVT checkpoint's `head`. */
export const classificationSpec = ({ channels, classes }: ClassificationConfig) => linearSpec(channels, classes);

/** From an embedding to one logit per class. */
export interface ClassificationHead extends Model<ReturnType<typeof classificationSpec>, (embedding: tf.Tensor2D, context?: ForwardContext) => tf.Tensor2D> {
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
export function createClassificationHead(config: ClassificationConfig, source: ParamSource): ClassificationHead {
  const { channels, classes, dropout: rate = 0 } = config;
  if (!(Number.isSafeInteger(classes) && classes > 0)) {
    throw new ConfigError('classes-invalid', `Classification head: expected at least one class, got ${classes}; use the embedding itself where there is nothing to classify.`);
  }
  const model = createModel('Classification head', classificationSpec(config), source, (params) => (embedding: tf.Tensor2D, context: ForwardContext = {}) => {
    if (embedding.rank !== 2 || embedding.shape[1] !== channels) {
      throw new ShapeError('embedding-invalid', `Classification head: expected an embedding [batch, ${channels}], got [${embedding.shape}]; build the head for the width of its backbone.`);
    }
    return pipe<tf.Tensor2D>(embedding, (t: tf.Tensor2D) => dropout(t, rate, context), (t: tf.Tensor2D) => linear(t, params));
  });
  return Object.defineProperties(model, { config: { value: config, enumerable: true } }) as unknown as ClassificationHead;
}
