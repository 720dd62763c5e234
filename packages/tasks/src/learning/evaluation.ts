import type { Picture } from '@pvt/core';
import {
  scoreDetections,
  scoreSegmentation,
  type DetectionPair,
  type LabelMap,
  type TrueObject,
} from '@pvt/heads';
import type { Classifier } from '../classifier.ts';
import type { Detector } from '../detector.ts';
import type { Segmenter } from '../segmenter.ts';
import type { RunOptions } from '../task.ts';

/** A picture and what it shows, in the picture's own pixels. */
export interface Truth<T> {
  readonly picture: Picture;
  readonly target: T;
}

/** What was measured; `score` is what training chooses by, higher is better, all in [0, 1]. */
export interface Evaluation {
  readonly score: number;
  readonly [measure: string]: number;
}

type Truths<T> = AsyncIterable<Truth<T>> | Iterable<Truth<T>>;

/**
 * Share of pictures whose best guess is right.
 *
 * @example
 * const { accuracy } = await evaluateClassifier(classifier, truths);
 */
export async function evaluateClassifier<S>(
  classifier: Classifier<S>,
  truths: Truths<number>,
  options: RunOptions = {},
): Promise<Evaluation & { readonly accuracy: number }> {
  let [right, count] = [0, 0];
  let waiting: Truth<number>[] = [];
  const judge = async () => {
    const guesses = await classifier.classify(
      waiting.map(({ picture }) => picture),
      { ...options, top: 1 },
    );
    right += guesses.filter(([best], i) => best!.label === waiting[i]!.target).length;
    count += waiting.length;
    waiting = [];
  };
  for await (const truth of truths) {
    waiting.push(truth);
    if (waiting.length === 32) await judge();
  }
  await judge();
  return { score: right / count, accuracy: right / count };
}

/**
 * Intersection over union of every class over all pixels (`iou class`), their mean and the share of right pixels.
 *
 * @example
 * const { meanIoU } = await evaluateSegmenter(segmenter, truths);
 */
export async function evaluateSegmenter<S>(
  segmenter: Segmenter<S>,
  truths: Truths<LabelMap>,
  options: RunOptions = {},
): Promise<Evaluation & { readonly meanIoU: number; readonly pixelAccuracy: number }> {
  const pairs: { found: LabelMap; truth: LabelMap }[] = [];
  for await (const { picture, target } of truths)
    pairs.push({ found: await segmenter.segment(picture, options), truth: target });
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
 * const { mAP50 } = await evaluateDetector(detector, truths);
 */
export async function evaluateDetector<S>(
  detector: Detector<S>,
  truths: Truths<readonly TrueObject[]>,
  options: RunOptions = {},
): Promise<Evaluation & { readonly mAP: number; readonly mAP50: number }> {
  const pairs: DetectionPair[] = [];
  for await (const { picture, target } of truths)
    pairs.push({ found: await detector.detect(picture, options), truth: target });
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
