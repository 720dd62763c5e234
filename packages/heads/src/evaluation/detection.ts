import type { LabelledBox, Box } from '@pvt/core';
import { boxIou } from '../retinanet/boxes.ts';
import type { Detection } from '../retinanet/suppress.ts';

/** One image's detections beside its objects. */
export interface DetectionPair {
  readonly detections: readonly Detection[];
  readonly targets: readonly LabelledBox[];
}

/** COCO's average precision, between 0 and 1; NaN where there is no object. */
export interface DetectionScores {
  /** Mean over classes and over the overlaps 0.5, 0.55, …, 0.95. */
  readonly mAP: number;
  /** At an overlap of 0.5. */
  readonly mAP50: number;
  /** At an overlap of 0.75. */
  readonly mAP75: number;
  /** Mean over the overlaps, by class. */
  readonly byClass: ReadonlyMap<number, number>;
}

/** COCO's ten thresholds and its 101 recalls. */
const overlaps = Array.from({ length: 10 }, (_, i) => 0.5 + 0.05 * i);
const recalls = Array.from({ length: 101 }, (_, i) => i / 100);

/** What becomes of an image's detections of one class: right, wrong, or neither (in a crowd). */
function judge(
  detections: readonly Detection[],
  targets: readonly LabelledBox[],
  threshold: number,
): (boolean | undefined)[] {
  const taken = new Set<LabelledBox>();
  // Objects before crowds: a detection counts as in a crowd only where it matches no object.
  const order = [...targets].sort((a, b) => Number(a.crowd ?? false) - Number(b.crowd ?? false));
  return detections.map(({ box }) => {
    let best: LabelledBox | undefined;
    let most = Math.min(threshold, 1 - 1e-10);
    for (const object of order) {
      if (taken.has(object) && !object.crowd) continue;
      if (best !== undefined && !best.crowd && object.crowd) break;
      const value = object.crowd ? inside(box, object.box) : boxIou(box, object.box);
      if (value >= most) [best, most] = [object, value];
    }
    if (best === undefined) return false;
    taken.add(best);
    return best.crowd ? undefined : true;
  });
}

/** The share of a box that lies in another. */
const inside = (box: Box, crowd: Box): number => {
  const area = (b: Box) => (b[2] - b[0]) * (b[3] - b[1]);
  const cut: Box = [
    Math.max(box[0], crowd[0]),
    Math.max(box[1], crowd[1]),
    Math.min(box[2], crowd[2]),
    Math.min(box[3], crowd[3]),
  ];
  return cut[2] > cut[0] && cut[3] > cut[1] ? area(cut) / area(box) : 0;
};

/** Area under the precision envelope, sampled at 101 recalls. */
function averagePrecision(
  verdicts: readonly { readonly score: number; readonly right: boolean | undefined }[],
  objects: number,
): number {
  const counted = verdicts.filter(({ right }) => right !== undefined).sort((a, b) => b.score - a.score);
  let hits = 0;
  const curve = counted.map(({ right }, i) => {
    if (right) hits++;
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

/**
 * COCO's box evaluation (pycocotools' `COCOeval`, all areas): detections are matched to objects from the best score down,
 * at most `limit` per image and class.
 *
 * @example
 * const { mAP, mAP50 } = scoreDetections(images.map(({ found, truth }) => ({ found, truth })));
 */
export function scoreDetections(pairs: readonly DetectionPair[], limit = 100): DetectionScores {
  const labels = [
    ...new Set(
      pairs.flatMap(({ targets }) => targets.filter(({ crowd }) => !crowd).map(({ label }) => label)),
    ),
  ].sort((a, b) => a - b);
  const table = labels.map((label) => {
    const chosen = pairs.map(({ detections, targets }) => ({
      detections: detections
        .filter((one) => one.label === label)
        .sort((a, b) => b.score - a.score)
        .slice(0, limit),
      targets: targets.filter((one) => one.label === label),
    }));
    const objects = chosen.reduce(
      (count, { targets }) => count + targets.filter(({ crowd }) => !crowd).length,
      0,
    );
    return overlaps.map((threshold) =>
      averagePrecision(
        chosen.flatMap(({ detections, targets }) => {
          const verdicts = judge(detections, targets, threshold);
          return detections.map(({ score }, i) => ({ score, right: verdicts[i] }));
        }),
        objects,
      ),
    );
  });
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  return {
    mAP: mean(table.flat()),
    mAP50: mean(table.map((row) => row[0]!)),
    mAP75: mean(table.map((row) => row[5]!)),
    byClass: new Map(labels.map((label, i) => [label, mean(table[i]!)])),
  };
}
