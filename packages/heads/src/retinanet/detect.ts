import { ConfigError, PvtError, ShapeError, type Size, type Placement, type Box } from '@pvt/core';
import { anchorsOf } from './anchors.ts';
import { clipBox, decodeBox } from './boxes.ts';
import type { RetinaNetLevel } from './retinanet.ts';
import { mmdetRules, type RetinaNetRules } from './rules.ts';
import { largest, nonMaxSuppression, type Detection } from './suppress.ts';

export interface DetectOptions {
  /** {@link mmdetRules} where absent; spread them to change a threshold. */
  readonly rules?: RetinaNetRules;
  /** Size of the model's input, padding included. */
  readonly input: Size;
  /** One per image of the batch; where absent, each fills the input and boxes are in the input's pixels. */
  readonly images?: readonly Placement[];
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Millions of logits come by here, so this is a plain loop. */
function hasNaN(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (values[i] !== values[i]) return true;
  return false;
}

/** A level's numbers of one image. */
interface LevelValues {
  readonly logits: Float32Array;
  readonly deltas: Float32Array;
  readonly classes: number;
  readonly anchor: (index: number) => Box;
}

/** Places of (anchor, class) pairs above the score, as the rules let them compete. */
function candidates(
  { logits, classes }: LevelValues,
  { candidates, candidatesPerLevel, scoreThreshold }: RetinaNetRules,
): number[] {
  // Logits order as scores do and cost no exponential; what a rounded threshold lets in is compared again below.
  const threshold = Math.log(scoreThreshold / (1 - scoreThreshold)) - 1e-3;
  if (candidates === 'pairs') return largest(logits, candidatesPerLevel, threshold);
  const best = new Float32Array(logits.length / classes).fill(-Infinity);
  for (let i = 0, anchor = 0; anchor < best.length; anchor++) {
    for (let end = i + classes; i < end; i++) if (logits[i]! > best[anchor]!) best[anchor] = logits[i]!;
  }
  return largest(best, candidatesPerLevel, threshold).flatMap((anchor) =>
    Array.from({ length: classes }, (_, label) => anchor * classes + label).filter(
      (i) => logits[i]! > threshold,
    ),
  );
}

function detectOne(
  levels: readonly LevelValues[],
  rules: RetinaNetRules,
  { contentSize, originalSize }: Placement,
): Detection[] {
  const [scaleY, scaleX] = [originalSize[0] / contentSize[0], originalSize[1] / contentSize[1]];
  const toImage = (detection: Detection): Detection => {
    const [left, top, right, bottom] = detection.box;
    return { ...detection, box: [left * scaleX, top * scaleY, right * scaleX, bottom * scaleY] };
  };
  const found: Detection[] = [];
  for (const level of levels) {
    const { logits, deltas, classes, anchor } = level;
    for (const place of candidates(level, rules)) {
      const score = sigmoid(logits[place]!);
      if (!(score > rules.scoreThreshold)) continue;
      const index = Math.floor(place / classes);
      const at = 4 * index;
      const moved = decodeBox(
        anchor(index),
        [deltas[at]!, deltas[at + 1]!, deltas[at + 2]!, deltas[at + 3]!],
        rules.limitShrinking,
      );
      found.push({ box: clipBox(moved, contentSize), score, label: place % classes });
    }
  }
  return rules.nmsSpace === 'image'
    ? nonMaxSuppression(found.map(toImage), rules.iouThreshold, rules.maxDetections)
    : nonMaxSuppression(found, rules.iouThreshold, rules.maxDetections).map(toImage);
}

/**
 * From a RetinaNet's answer to the objects of each image, best first: candidates per level, boxes decoded and clipped,
 * non-maximum suppression per class, boxes in the image's own pixels. The levels are borrowed. Images without objects
 * give empty lists.
 *
 * @throws ConfigError for thresholds outside of [0, 1], ShapeError where images and batch differ in number, PvtError `scores-nan` for an answer that is no number
 * @example
 * const [objects] = await detect(head.forward(fpn.forward(pyramid)), { input: [640, 640], images: [{ inside: [480, 640], original: [960, 1280] }] });
 */
export async function detect(
  levels: readonly RetinaNetLevel[],
  { rules = mmdetRules, input, images }: DetectOptions,
): Promise<Detection[][]> {
  for (const field of ['scoreThreshold', 'iouThreshold'] as const) {
    if (!(rules[field] >= 0 && rules[field] <= 1))
      throw new ConfigError(
        'threshold-invalid',
        `detect: expected ${field} between 0 and 1, got ${rules[field]}; correct the rules.`,
      );
  }
  const batch = levels[0]?.logits.shape[0] ?? 0;
  const placements =
    images ?? Array.from({ length: batch }, () => ({ contentSize: input, originalSize: input }));
  if (placements.length !== batch)
    throw new ShapeError(
      'images-misfit',
      `detect: expected ${batch} placements, one per image of the batch, got ${placements.length}; pass as many.`,
    );
  const read = await Promise.all(
    levels.map(async ({ logits, deltas, stride, grid }) => {
      const [logitValues, deltaValues] = (await Promise.all([logits.data(), deltas.data()])) as [
        Float32Array,
        Float32Array,
      ];
      if (hasNaN(logitValues) || hasNaN(deltaValues)) {
        throw new PvtError(
          'scores-nan',
          `detect: expected scores and boxes that are numbers, got NaN at stride ${stride}; look for NaN in the input or the checkpoint.`,
        );
      }
      return {
        logits: logitValues,
        deltas: deltaValues,
        classes: logits.shape[2],
        anchor: anchorsOf(rules.anchors, { stride, grid }, input),
      };
    }),
  );
  return placements.map((placement, i) => {
    const part = (values: Float32Array) =>
      values.subarray((i * values.length) / batch, ((i + 1) * values.length) / batch);
    return detectOne(
      read.map((level) => ({ ...level, logits: part(level.logits), deltas: part(level.deltas) })),
      rules,
      placement,
    );
  });
}
