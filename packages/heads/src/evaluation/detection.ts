import type { Box, LabelledBox } from '@pvt/core';
import { boxArea, boxIou } from '../retinanet/boxes.ts';
import type { Detection } from '../retinanet/nms.ts';

/** An image's detections and its ground truth. */
export interface DetectionPair {
  readonly detections: readonly Detection[];
  readonly targets: readonly LabelledBox[];
}

/** COCO's average precision, between 0 and 1; NaN if there is no object. */
export interface DetectionScores {
  /** Mean over classes and over the IoU thresholds 0.5, 0.55, …, 0.95. */
  readonly mAP: number;
  /** At an IoU of 0.5. */
  readonly mAP50: number;
  /** At an IoU of 0.75. */
  readonly mAP75: number;
  /** Mean over the IoU thresholds, by class. */
  readonly byClass: ReadonlyMap<number, number>;
}

/**
 * COCO's ten IoU thresholds and its 101 recalls, to the last bit as numpy's `linspace` gives them to
 * pycocotools: an IoU of 0.85 or a recall of 0.35 would fall on the other side of `0.5 + 0.05 * 7` or
 * `35 / 100`.
 */
const iouThresholds = Array.from({ length: 10 }, (_, i) => (i === 9 ? 0.95 : 0.5 + i * ((0.95 - 0.5) / 9)));
const recalls = Array.from({ length: 101 }, (_, i) => i * 0.01);

/** A detection of one class; `correct` is undefined if it lies in a crowd and does not count. */
interface Verdict {
  readonly score: number;
  readonly correct: boolean | undefined;
}

/** Matches an image's detections of one class, best first, to its objects. */
function judge(
  detections: readonly Detection[],
  targets: readonly LabelledBox[],
  iouThreshold: number,
): Verdict[] {
  const matched = new Set<LabelledBox>();
  // Objects before crowds: a detection counts as in a crowd only if it matches no object.
  const order = [...targets].sort((a, b) => Number(a.crowd ?? false) - Number(b.crowd ?? false));
  return detections.map(({ box, score }) => {
    let best: LabelledBox | undefined;
    let bestIou = Math.min(iouThreshold, 1 - 1e-10);
    for (const object of order) {
      if (matched.has(object) && !object.crowd) continue;
      if (best !== undefined && !best.crowd && object.crowd) break;
      const iou = object.crowd ? shareWithin(box, object.box) : boxIou(box, object.box);
      if (iou >= bestIou) [best, bestIou] = [object, iou];
    }
    if (best === undefined) return { score, correct: false };
    matched.add(best);
    return { score, correct: best.crowd ? undefined : true };
  });
}

/** The share of a box that lies within another. */
function shareWithin(box: Box, crowd: Box): number {
  const part: Box = [
    Math.max(box[0], crowd[0]),
    Math.max(box[1], crowd[1]),
    Math.min(box[2], crowd[2]),
    Math.min(box[3], crowd[3]),
  ];
  return part[2] > part[0] && part[3] > part[1] ? boxArea(part) / boxArea(box) : 0;
}

/** Area under the precision envelope, sampled at 101 recalls. */
function averagePrecision(verdicts: readonly Verdict[], objects: number): number {
  const counted = verdicts.filter(({ correct }) => correct !== undefined).sort((a, b) => b.score - a.score);
  let hits = 0;
  const curve = counted.map(({ correct }, i) => {
    if (correct) hits++;
    return { recall: hits / objects, precision: hits / (i + 1) };
  });
  for (let i = curve.length - 2; i >= 0; i--)
    curve[i]!.precision = Math.max(curve[i]!.precision, curve[i + 1]!.precision);
  let at = 0;
  let sum = 0;
  for (const recall of recalls) {
    while (at < curve.length && curve[at]!.recall < recall) at++;
    sum += curve[at]?.precision ?? 0;
  }
  return sum / recalls.length;
}

/** Average precision of one class at each IoU threshold. */
function classPrecisions(pairs: readonly DetectionPair[], label: number, maxDetections: number): number[] {
  const ofClass = pairs.map(({ detections, targets }) => ({
    detections: detections
      .filter((one) => one.label === label)
      .sort((a, b) => b.score - a.score)
      .slice(0, maxDetections),
    targets: targets.filter((one) => one.label === label),
  }));
  const objects = ofClass.flatMap(({ targets }) => targets.filter(({ crowd }) => !crowd)).length;
  return iouThresholds.map((iouThreshold) => {
    const verdicts = ofClass.flatMap(({ detections, targets }) => judge(detections, targets, iouThreshold));
    return averagePrecision(verdicts, objects);
  });
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/**
 * COCO's box evaluation (pycocotools' `COCOeval`, all areas): detections are matched to objects from the best
 * score down.
 *
 * @param maxDetections per image and class
 * @example
 * const { mAP, mAP50 } = scoreDetections(images.map(({ detections, targets }) => ({ detections, targets })));
 */
export function scoreDetections(pairs: readonly DetectionPair[], maxDetections = 100): DetectionScores {
  const objects = pairs.flatMap(({ targets }) => targets.filter(({ crowd }) => !crowd));
  const labels = [...new Set(objects.map(({ label }) => label))].sort((a, b) => a - b);
  const table = labels.map((label) => classPrecisions(pairs, label, maxDetections));
  return {
    mAP: mean(table.flat()),
    mAP50: mean(table.map((row) => row[0]!)),
    mAP75: mean(table.map((row) => row[5]!)),
    byClass: new Map(labels.map((label, i) => [label, mean(table[i]!)])),
  };
}
