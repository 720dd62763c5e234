import { ConfigError, ShapeError, type LabelMap, ignoredLabel } from '@pvt/core';

/** How well label maps agree with the truth. */
export interface SegmentationScores {
  /** Mean of `iou` over the classes that occur in either. */
  readonly meanIoU: number;
  /** Share of pixels with the right class. */
  readonly accuracy: number;
  /** Intersection over union of each class; NaN where it occurs in neither. */
  readonly iou: readonly number[];
}

/**
 * Mean intersection over union over all pixels of all images, as mmsegmentation's `mIoU`. Pixels whose true label is
 * `ignore` do not count.
 *
 * @throws ShapeError where a pair differs in size, ConfigError for a label that is no class
 * @example
 * const { meanIoU } = scoreSegmentation([{ found, truth }], 150);
 */
export function scoreSegmentation(
  pairs: Iterable<{ readonly prediction: LabelMap; readonly target: LabelMap }>,
  classes: number,
  ignore = ignoredLabel,
): SegmentationScores {
  const [shared, prediction, target] = [0, 1, 2].map(() => new Float64Array(classes)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  for (const pair of pairs) {
    if (pair.prediction.width !== pair.target.width || pair.prediction.height !== pair.target.height) {
      throw new ShapeError(
        'labels-misfit',
        `scoreSegmentation: expected maps of one size, got ${pair.prediction.height}x${pair.prediction.width} and ${pair.target.height}x${pair.target.width}; upsample to the truth's size.`,
      );
    }
    for (const [i, label] of pair.target.labels.entries()) {
      if (label === ignore) continue;
      const guess = pair.prediction.labels[i]!;
      if (label >= classes || guess >= classes)
        throw new ConfigError(
          'label-invalid',
          `scoreSegmentation: expected labels below ${classes} or ${ignore} to ignore, got ${Math.max(label, guess)}; correct the number of classes.`,
        );
      target[label]!++;
      prediction[guess]!++;
      if (guess === label) shared[label]!++;
    }
  }
  const iou = Array.from(shared, (value, i) => value / (target[i]! + prediction[i]! - value));
  const occurring = iou.filter((value) => !Number.isNaN(value));
  const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);
  return { meanIoU: sum(occurring) / occurring.length, accuracy: sum(shared) / sum(target), iou };
}
