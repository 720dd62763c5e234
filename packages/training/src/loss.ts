import * as tf from '@tensorflow/tfjs-core';
import { ConfigError, ShapeError } from '@pvt/core';

/**
 * Mean cross entropy with soft targets, as mixup (arXiv:1710.09412) and cutmix (arXiv:1905.04899) make them,
 * and with label smoothing (Szegedy et al., arXiv:1512.00567).
 *
 * @param logits [B, classes]
 * @param targets [B, classes], each row a distribution
 * @param smoothing share of each target that is spread over all classes, in [0, 1). Default: 0
 * @throws ShapeError if the shapes differ, ConfigError for smoothing outside [0, 1)
 * @example
 * const loss = softCrossEntropy(logits, tf.tensor2d([[0.7, 0.3, 0]]), { smoothing: 0.1 });
 */
export function softCrossEntropy(
  logits: tf.Tensor2D,
  targets: tf.Tensor2D,
  { smoothing = 0 }: { readonly smoothing?: number } = {},
): tf.Scalar {
  if (logits.shape.join() !== targets.shape.join())
    throw new ShapeError(
      'targets-misfit',
      `softCrossEntropy: expected targets of the logits' shape [${logits.shape}], got [${targets.shape}]; ` +
        'pass one number per class for each image.',
    );
  if (!(smoothing >= 0 && smoothing < 1))
    throw new ConfigError(
      'smoothing-invalid',
      `softCrossEntropy: expected smoothing in [0, 1), got ${smoothing}; use 0 for none.`,
    );
  const [batch, classes] = logits.shape;
  return tf.tidy(() => {
    const smoothed = smoothing === 0 ? targets : tf.add(tf.mul(targets, 1 - smoothing), smoothing / classes);
    return tf.div(tf.sum(tf.mul(tf.logSoftmax(logits), smoothed)), -batch);
  });
}

/**
 * Rows that are 1 at their label and 0 elsewhere, for {@link softCrossEntropy}.
 *
 * @throws ConfigError for a label that is not a class index
 * @example
 * oneHot([2, 0], 3).print(); // [[0, 0, 1], [1, 0, 0]]
 */
export function oneHot(labels: readonly number[], classes: number): tf.Tensor2D {
  const values = new Float32Array(labels.length * classes);
  for (const [i, label] of labels.entries()) {
    if (!(Number.isInteger(label) && label >= 0 && label < classes))
      throw new ConfigError(
        'label-invalid',
        `oneHot: expected labels between 0 and ${classes - 1}, got ${label}; count classes from 0.`,
      );
    values[i * classes + label] = 1;
  }
  return tf.tensor2d(values, [labels.length, classes]);
}
