import type { Image, LabelMap, LabelledBox } from '@pvt/core';
import { scoreDetections, scoreSegmentation, type DetectionPair } from '@pvt/heads';
import type { Classifier } from '../classifier.ts';
import type { Detector } from '../detector.ts';
import type { Segmenter } from '../segmenter.ts';
import type { RunOptions } from '../task.ts';

/** An image and what it shows, in the image's own pixels. */
export interface LabelledImage<T> {
  readonly image: Image;
  readonly target: T;
}

/** What was measured; `score` is what training chooses by, higher is better, all in [0, 1]. */
export interface Evaluation {
  readonly score: number;
  readonly [measure: string]: number;
}

type LabelledImages<T> = AsyncIterable<LabelledImage<T>> | Iterable<LabelledImage<T>>;

/**
 * Share of images whose best guess is right.
 *
 * @example
 * const { accuracy } = await evaluateClassifier(classifier, labelledImages);
 */
export async function evaluateClassifier<S>(
  classifier: Classifier<S>,
  labelledImages: LabelledImages<number>,
  options: RunOptions = {},
): Promise<Evaluation & { readonly accuracy: number }> {
  let [right, count] = [0, 0];
  let waiting: LabelledImage<number>[] = [];
  const judge = async () => {
    const guesses = await classifier.classify(
      waiting.map(({ image }) => image),
      { ...options, top: 1 },
    );
    right += guesses.filter(([best], i) => best!.label === waiting[i]!.target).length;
    count += waiting.length;
    waiting = [];
  };
  for await (const labelledImage of labelledImages) {
    waiting.push(labelledImage);
    if (waiting.length === 32) await judge();
  }
  await judge();
  return { score: right / count, accuracy: right / count };
}

/**
 * Intersection over union of every class over all pixels (`iou class`), their mean and the share of right pixels.
 *
 * @example
 * const { meanIoU } = await evaluateSegmenter(segmenter, labelledImages);
 */
export async function evaluateSegmenter<S>(
  segmenter: Segmenter<S>,
  labelledImages: LabelledImages<LabelMap>,
  options: RunOptions = {},
): Promise<Evaluation & { readonly meanIoU: number; readonly pixelAccuracy: number }> {
  const pairs: { prediction: LabelMap; target: LabelMap }[] = [];
  for await (const { image, target } of labelledImages)
    pairs.push({ prediction: await segmenter.segment(image, options), target });
  const { meanIoU, accuracy, iou } = scoreSegmentation(pairs, segmenter.parts.head.config.classes);
  const byClass = iou.flatMap((value, i) =>
    Number.isNaN(value) ? [] : [[`IoU ${segmenter.names[i] ?? i}`, value] as const],
  );
  return { score: meanIoU, meanIoU, pixelAccuracy: accuracy, ...Object.fromEntries(byClass) };
}

/**
 * COCO's mean average precision (`mAP`) and that at an overlap of 0.5 (`mAP50`, which is the score), and of every class.
 *
 * @example
 * const { mAP50 } = await evaluateDetector(detector, labelledImages);
 */
export async function evaluateDetector<S>(
  detector: Detector<S>,
  labelledImages: LabelledImages<readonly LabelledBox[]>,
  options: RunOptions = {},
): Promise<Evaluation & { readonly mAP: number; readonly mAP50: number }> {
  const pairs: DetectionPair[] = [];
  for await (const { image, target } of labelledImages)
    pairs.push({ detections: await detector.detect(image, options), targets: target });
  const { mAP, mAP50, mAP75, byClass } = scoreDetections(pairs);
  return {
    score: mAP50,
    mAP50,
    mAP,
    mAP75,
    ...Object.fromEntries(
      Array.from(byClass, ([label, value]) => [`AP ${detector.names[label] ?? label}`, value]),
    ),
  };
}
