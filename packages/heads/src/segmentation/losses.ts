import * as tf from '@tensorflow/tfjs-core';
import { ConfigError, ignoredLabel, resample, ShapeError, type LabelMap } from '@pvt/core';

/**
 * Mean cross entropy over pixels after bilinear upsampling of the logits to the labels' size; pixels of `ignore` count
 * neither above nor below the fraction bar.
 *
 * @param logits [B, h, w, classes]
 * @param labels one map per image, all of one size
 * @throws ShapeError where labels and batch do not fit, ConfigError for a label that is no class
 * @example
 * const loss = segmentationLoss(head.forward(pyramid, { training: true, random }), [labels]);
 */
export function segmentationLoss(
  logits: tf.Tensor4D,
  labels: readonly LabelMap[],
  ignore = ignoredLabel,
): tf.Scalar {
  const [batch, , , classes] = logits.shape;
  const { width, height } = labels[0] ?? { width: 0, height: 0 };
  if (
    labels.length !== batch ||
    labels.some((map) => map.width !== width || map.height !== height || map.labels.length !== width * height)
  ) {
    throw new ShapeError(
      'labels-misfit',
      `segmentationLoss: expected ${batch} label maps of one size, got ${labels.map((map) => `${map.height}x${map.width}`).join(', ') || 'none'}; crop them alike.`,
    );
  }
  const pixels = width * height;
  const targets = new Float32Array(batch * pixels * classes);
  let counted = 0;
  for (const [i, map] of labels.entries()) {
    for (const [p, label] of map.labels.entries()) {
      if (label === ignore) continue;
      if (label >= classes)
        throw new ConfigError(
          'label-invalid',
          `segmentationLoss: expected labels below ${classes} or ${ignore} to ignore, got ${label}; correct the labels.`,
        );
      targets[(i * pixels + p) * classes + label] = 1;
      counted++;
    }
  }
  return tf.tidy(() => {
    const full = resample(logits, [height, width], 'bilinear');
    const entropy = tf.sum(
      tf.mul(tf.logSoftmax(full), tf.tensor4d(targets, [batch, height, width, classes])),
    );
    return tf.div(entropy, -Math.max(1, counted)) as tf.Scalar;
  });
}
