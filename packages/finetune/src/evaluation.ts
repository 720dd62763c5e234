import type { LabelledImage, Targets, Task } from '@pvt/data';
import {
  scoreDetections,
  scoreSegmentation,
  type DetectionPair,
  type DetectorParts,
  type SegmenterParts,
} from '@pvt/heads';
import type { Checkpoint } from '@pvt/presets';
import {
  createClassifier,
  createDetector,
  createSegmenter,
  type Classifier,
  type ClassifierParts,
  type Detector,
  type RunOptions,
  type Segmenter,
  type SegmenterOptions,
} from '@pvt/tasks';

/** As `labelledImages` of `@pvt/data` reads them. */
export type LabelledImages<K extends Task> =
  AsyncIterable<LabelledImage<Targets[K]>> | Iterable<LabelledImage<Targets[K]>>;

/**
 * What was measured, everything in [0, 1]. Training chooses the best checkpoint by `score`; higher is better.
 */
export interface Evaluation {
  readonly score: number;
  readonly [measure: string]: number;
}

/** Images per call of a classifier. */
const chunk = 32;

/**
 * Share of images whose most probable class is right (`accuracy`, also the score).
 *
 * @example
 * const { accuracy } = await evaluateClassifier(classifier, labelledImages(validation));
 */
export async function evaluateClassifier(
  classifier: Classifier,
  images: LabelledImages<'classify'>,
  options: RunOptions = {},
): Promise<Evaluation & { readonly accuracy: number }> {
  let [right, count] = [0, 0];
  const countRight = async (some: readonly LabelledImage<number>[]) => {
    const predictions = await classifier.classify(
      some.map(({ image }) => image),
      { ...options, top: 1 },
    );
    right += predictions.filter(([best], i) => best!.label === some[i]!.target).length;
    count += some.length;
  };
  let pending: LabelledImage<number>[] = [];
  for await (const image of images) {
    pending.push(image);
    if (pending.length < chunk) continue;
    await countRight(pending);
    pending = [];
  }
  await countRight(pending);
  return { score: right / count, accuracy: right / count };
}

/**
 * Intersection over union of each class over all pixels (`IoU class`), their mean (`meanIoU`, also the score)
 * and the share of right pixels (`pixelAccuracy`).
 *
 * @example
 * const { meanIoU } = await evaluateSegmenter(segmenter, labelledImages(validation));
 */
export async function evaluateSegmenter(
  segmenter: Segmenter,
  images: LabelledImages<'segment'>,
  options: RunOptions = {},
): Promise<Evaluation & { readonly meanIoU: number; readonly pixelAccuracy: number }> {
  const pairs = [];
  for await (const { image, target } of images)
    pairs.push({ prediction: await segmenter.segment(image, options), target });
  const { meanIoU, accuracy, iou } = scoreSegmentation(pairs, segmenter.model.parts.head.config.classes);
  const byClass = iou
    .map((value, label) => [`IoU ${segmenter.names[label] ?? label}`, value] as const)
    .filter(([, value]) => !Number.isNaN(value));
  return { score: meanIoU, meanIoU, pixelAccuracy: accuracy, ...Object.fromEntries(byClass) };
}

/**
 * COCO's mean average precision (`mAP`), that at an IoU of 0.5 (`mAP50`, also the score) and 0.75 (`mAP75`),
 * and the average precision of each class (`AP class`).
 *
 * @example
 * const { mAP50 } = await evaluateDetector(detector, labelledImages(validation));
 */
export async function evaluateDetector(
  detector: Detector,
  images: LabelledImages<'detect'>,
  options: RunOptions = {},
): Promise<Evaluation & { readonly mAP: number; readonly mAP50: number }> {
  const pairs: DetectionPair[] = [];
  for await (const { image, target } of images)
    pairs.push({ detections: await detector.detect(image, options), targets: target });
  const { mAP, mAP50, mAP75, byClass } = scoreDetections(pairs);
  const named = Array.from(byClass, ([label, value]) => [`AP ${detector.names[label] ?? label}`, value]);
  return { score: mAP50, mAP50, mAP, mAP75, ...Object.fromEntries(named) };
}

/** A model of each task, made of parts. */
interface Parts {
  readonly classify: ClassifierParts;
  readonly segment: SegmenterParts;
  readonly detect: DetectorParts;
}

/** A task's model, and what measures it on labelled images. */
export interface Evaluator<K extends Task> {
  /** Class names by index. */
  readonly names: readonly string[];
  evaluate(images: LabelledImages<K>, options?: RunOptions): Promise<Evaluation>;
  /** Frees the model. */
  dispose(): void;
}

/** The options of `createSegmenter` and `createDetector`; a classifier takes those that all tasks have. */
export type EvaluatorOptions = SegmenterOptions;

const evaluators: {
  readonly [K in Task]: (from: Checkpoint | Parts[K], options: EvaluatorOptions) => Promise<Evaluator<K>>;
} = {
  async classify(from, options) {
    const classifier = await createClassifier(from, options);
    return { ...classifier, evaluate: (images, run) => evaluateClassifier(classifier, images, run) };
  },
  async segment(from, options) {
    const segmenter = await createSegmenter(from, options);
    return { ...segmenter, evaluate: (images, run) => evaluateSegmenter(segmenter, images, run) };
  },
  async detect(from, options) {
    const detector = await createDetector(from, options);
    return { ...detector, evaluate: (images, run) => evaluateDetector(detector, images, run) };
  },
};

/**
 * The evaluation of a classifier, segmenter or detector.
 *
 * @throws what the task's `create…` function throws
 * @example
 * const evaluator = await createEvaluator('detect', await loadCheckpoint('pvt-detect/model.safetensors'));
 * const { mAP50 } = await evaluator.evaluate(labelledImages(test));
 */
export const createEvaluator = <K extends Task>(
  task: K,
  from: Checkpoint | Parts[K],
  options: EvaluatorOptions = {},
): Promise<Evaluator<K>> => evaluators[task](from, options);
