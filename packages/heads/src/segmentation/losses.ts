import * as tf from '@tensorflow/tfjs-core';
import { ConfigError, ignoredLabel, resample, ShapeError, type LabelMap } from '@pvt/core';

/**
 * Mean cross entropy over pixels after bilinear upsampling of the logits to the labels' size. The mean leaves
 * out pixels whose label is `ignore`.
 *
 * @param logits [B, h, w, classes]
 * @param labels one map per image, all of one size
 * @throws ShapeError unless there is one map per image, all of one size; ConfigError for a label that is no
 * class
 * @example
 * const loss = segmentationLoss(head.forward(pyramid, { training: true, random }), [labels]);
 */
export function segmentationLoss(
  logits: tf.Tensor4D,
  labels: readonly LabelMap[],
  ignore = ignoredLabel,
): tf.Scalar {
  const [batch, , , classes] = logits.shape;
  checkMaps(labels, batch);
  const { width, height } = labels[0]!;
  const { targets, counted } = oneHot(labels, classes, ignore);
  return tf.tidy(() => {
    const full = resample(logits, [height, width], 'bilinear');
    const target = tf.tensor4d(targets, [batch, height, width, classes]);
    const entropy = tf.sum(tf.mul(tf.logSoftmax(full), target));
    return tf.div<tf.Scalar>(entropy, -Math.max(1, counted));
  });
}

function checkMaps(labels: readonly LabelMap[], batch: number): void {
  const { width, height } = labels[0] ?? { width: 0, height: 0 };
  const isAlike = (map: LabelMap) =>
    map.width === width && map.height === height && map.labels.length === width * height;
  if (labels.length === batch && labels.every(isAlike)) return;
  const sizes = labels.map((map) => `${map.height}x${map.width}`);
  throw new ShapeError(
    'labels-misfit',
    `segmentationLoss: expected ${batch} label maps of one size, got ${sizes.join(', ') || 'none'}; ` +
      'crop them alike.',
  );
}

/** Targets [B, H, W, classes], all 0 for pixels to ignore, and the number of the other pixels. */
function oneHot(labels: readonly LabelMap[], classes: number, ignore: number) {
  const pixels = labels[0]!.labels.length;
  const targets = new Float32Array(labels.length * pixels * classes);
  let counted = 0;
  for (const [i, map] of labels.entries()) {
    for (const [p, label] of map.labels.entries()) {
      if (label === ignore) continue;
      if (label >= classes) {
        throw new ConfigError(
          'label-invalid',
          `segmentationLoss: expected labels below ${classes} or ${ignore} to ignore, got ${label}; ` +
            'correct the labels.',
        );
      }
      targets[(i * pixels + p) * classes + label] = 1;
      counted++;
    }
  }
  return { targets, counted };
}
