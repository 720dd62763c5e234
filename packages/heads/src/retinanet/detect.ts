import { ConfigError, PvtError, ShapeError, type Box, type Placement, type Size } from '@pvt/core';
import { topKIndices } from '../topK.ts';
import { anchorGenerator } from './anchors.ts';
import { clipBox, decodeBox } from './boxes.ts';
import { nonMaxSuppression, type Detection } from './nms.ts';
import type { RetinaNetLevel } from './retinanet.ts';
import { mmdetRules, type RetinaNetRules } from './rules.ts';

export interface DetectOptions {
  /** Default: {@link mmdetRules}; spread them to change a threshold. */
  readonly rules?: RetinaNetRules;
  /** Size of the model's input, padding included. */
  readonly input: Size;
  /** One per image of the batch. Default: each image fills the input, and boxes are in the input's pixels. */
  readonly images?: readonly Placement[];
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** A plain loop, since it goes over millions of logits. */
function hasNaN(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (values[i] !== values[i]) return true;
  return false;
}

/** One level's output, for one image or for a batch. */
interface LevelValues {
  readonly logits: Float32Array;
  readonly deltas: Float32Array;
  readonly classes: number;
  readonly anchorAt: (index: number) => Box;
}

/** Indices into the logits of the (anchor, class) pairs that the rules select. */
function selectCandidates(
  { logits, classes }: LevelValues,
  { candidates, candidatesPerLevel, scoreThreshold }: RetinaNetRules,
): number[] {
  // Logits have the order of the scores and need no exponential. The scores are compared exactly afterwards,
  // so the threshold may be a little too low, but not too high.
  const threshold = Math.log(scoreThreshold / (1 - scoreThreshold)) - 1e-3;
  if (candidates === 'pairs') return topKIndices(logits, candidatesPerLevel, threshold);
  const best = new Float32Array(logits.length / classes).fill(-Infinity);
  for (let i = 0, anchor = 0; anchor < best.length; anchor++) {
    for (let end = i + classes; i < end; i++) if (logits[i]! > best[anchor]!) best[anchor] = logits[i]!;
  }
  return topKIndices(best, candidatesPerLevel, threshold).flatMap((anchor) =>
    Array.from({ length: classes }, (_, label) => anchor * classes + label).filter(
      (i) => logits[i]! > threshold,
    ),
  );
}

/** A level's detections above the score threshold, in pixels of the input, before non-maximum suppression. */
function decodeLevel(level: LevelValues, rules: RetinaNetRules, contentSize: Size): Detection[] {
  const { logits, deltas, classes, anchorAt } = level;
  const found: Detection[] = [];
  for (const index of selectCandidates(level, rules)) {
    const score = sigmoid(logits[index]!);
    if (!(score > rules.scoreThreshold)) continue;
    const anchor = Math.floor(index / classes);
    const i = 4 * anchor;
    const offsets = [deltas[i]!, deltas[i + 1]!, deltas[i + 2]!, deltas[i + 3]!] as const;
    const box = decodeBox(anchorAt(anchor), offsets, rules.limitShrinking);
    found.push({ box: clipBox(box, contentSize), score, label: index % classes });
  }
  return found;
}

function detectInImage(
  levels: readonly LevelValues[],
  rules: RetinaNetRules,
  { contentSize, originalSize }: Placement,
): Detection[] {
  const [scaleY, scaleX] = [originalSize[0] / contentSize[0], originalSize[1] / contentSize[1]];
  const toImage = (detection: Detection): Detection => {
    const [left, top, right, bottom] = detection.box;
    return { ...detection, box: [left * scaleX, top * scaleY, right * scaleX, bottom * scaleY] };
  };
  const found = levels.flatMap((level) => decodeLevel(level, rules, contentSize));
  const { iouThreshold, maxDetections } = rules;
  return rules.nmsSpace === 'image'
    ? nonMaxSuppression(found.map(toImage), iouThreshold, maxDetections)
    : nonMaxSuppression(found, iouThreshold, maxDetections).map(toImage);
}

/** Downloads a level. @throws PvtError `scores-nan` if it has NaN */
async function readLevel(
  { logits, deltas, stride, grid }: RetinaNetLevel,
  rules: RetinaNetRules,
  input: Size,
): Promise<LevelValues> {
  const [logitValues, deltaValues] = (await Promise.all([logits.data(), deltas.data()])) as [
    Float32Array,
    Float32Array,
  ];
  if (hasNaN(logitValues) || hasNaN(deltaValues)) {
    throw new PvtError(
      'scores-nan',
      `detect: expected scores and boxes that are numbers, got NaN at stride ${stride}; ` +
        'look for NaN in the input or the checkpoint.',
    );
  }
  return {
    logits: logitValues,
    deltas: deltaValues,
    classes: logits.shape[2],
    anchorAt: anchorGenerator(rules.anchors, { stride, grid }, input),
  };
}

/**
 * From a RetinaNet's output to the objects of each image, best first: candidates per level, boxes decoded and
 * clipped, non-maximum suppression per class, boxes in the image's own pixels. The levels are borrowed. An
 * image without objects has an empty list.
 *
 * @throws ConfigError for thresholds outside [0, 1], ShapeError if there is not one placement per image,
 * PvtError `scores-nan` for NaN in the output
 * @example
 * const images = [{ contentSize: [480, 640], originalSize: [960, 1280] }];
 * const [objects] = await detect(head.forward(fpn.forward(pyramid)), { input: [640, 640], images });
 */
export async function detect(
  levels: readonly RetinaNetLevel[],
  { rules = mmdetRules, input, images }: DetectOptions,
): Promise<Detection[][]> {
  for (const field of ['scoreThreshold', 'iouThreshold'] as const) {
    if (rules[field] >= 0 && rules[field] <= 1) continue;
    throw new ConfigError(
      'threshold-invalid',
      `detect: expected ${field} between 0 and 1, got ${rules[field]}; correct the rules.`,
    );
  }
  const batch = levels[0]?.logits.shape[0] ?? 0;
  const placements =
    images ?? Array.from({ length: batch }, () => ({ contentSize: input, originalSize: input }));
  if (placements.length !== batch) {
    throw new ShapeError(
      'images-misfit',
      `detect: expected ${batch} placements, one per image of the batch, got ${placements.length}; ` +
        'pass as many.',
    );
  }
  const read = await Promise.all(levels.map((level) => readLevel(level, rules, input)));
  return placements.map((placement, i) => {
    const part = (values: Float32Array) =>
      values.subarray((i * values.length) / batch, ((i + 1) * values.length) / batch);
    const own = read.map((level) => ({ ...level, logits: part(level.logits), deltas: part(level.deltas) }));
    return detectInImage(own, rules, placement);
  });
}
