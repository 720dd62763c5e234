import { ConfigError, ShapeError, type LabelMap, ignoredLabel } from '@pvt/core';

/** How well label maps agree with the ground truth. */
export interface SegmentationScores {
  /** Mean of `iou` over the classes that occur in either. */
  readonly meanIoU: number;
  /** Share of pixels with the right class. */
  readonly accuracy: number;
  /** Intersection over union of each class; NaN for a class that occurs in neither. */
  readonly iou: readonly number[];
}

/** A predicted label map and the ground truth. */
export interface SegmentationPair {
  readonly prediction: LabelMap;
  readonly target: LabelMap;
}

/** Pixels of each class. */
interface Counts {
  readonly prediction: Float64Array;
  readonly target: Float64Array;
  readonly intersection: Float64Array;
}

const sum = (values: Iterable<number>): number => Array.from(values).reduce((a, b) => a + b, 0);

/**
 * Mean intersection over union over all pixels of all images, as mmsegmentation's `mIoU`. Pixels whose true
 * label is `ignore` do not count.
 *
 * @throws ShapeError if a pair differs in size, ConfigError for a label that is no class
 * @example
 * const { meanIoU } = scoreSegmentation([{ prediction, target }], 150);
 */
export function scoreSegmentation(
  pairs: Iterable<SegmentationPair>,
  classes: number,
  ignore = ignoredLabel,
): SegmentationScores {
  const counts: Counts = {
    prediction: new Float64Array(classes),
    target: new Float64Array(classes),
    intersection: new Float64Array(classes),
  };
  for (const pair of pairs) countPixels(pair, classes, ignore, counts);
  const { prediction, target, intersection } = counts;
  const iou = Array.from(intersection, (both, i) => both / (target[i]! + prediction[i]! - both));
  const occurring = iou.filter((value) => !Number.isNaN(value));
  return { meanIoU: sum(occurring) / occurring.length, accuracy: sum(intersection) / sum(target), iou };
}

function countPixels(
  { prediction, target }: SegmentationPair,
  classes: number,
  ignore: number,
  counts: Counts,
): void {
  if (prediction.width !== target.width || prediction.height !== target.height) {
    const [a, b] = [prediction, target].map(({ width, height }) => `${height}x${width}`);
    throw new ShapeError(
      'labels-misfit',
      `scoreSegmentation: expected maps of one size, got ${a} and ${b}; ` +
        "upsample the prediction to the target's size.",
    );
  }
  for (const [i, label] of target.labels.entries()) {
    if (label === ignore) continue;
    const predicted = prediction.labels[i]!;
    if (label >= classes || predicted >= classes) {
      throw new ConfigError(
        'label-invalid',
        `scoreSegmentation: expected labels below ${classes} or ${ignore} to ignore, ` +
          `got ${Math.max(label, predicted)}; correct the number of classes.`,
      );
    }
    counts.target[label]!++;
    counts.prediction[predicted]!++;
    if (predicted === label) counts.intersection[label]!++;
  }
}
