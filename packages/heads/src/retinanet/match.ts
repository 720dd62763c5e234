import type { Box } from '@pvt/core';
import { boxIou } from './boxes.ts';

/**
 * What {@link matchAnchors} gives an anchor that matches no object: it is background, or left out of the
 * loss.
 */
export const backgroundAnchor = -1;
export const ignoredAnchor = -2;

export interface MatchOptions {
  /** Least IoU at which an anchor matches an object. Default: 0.5. */
  readonly positiveIou?: number;
  /**
   * An anchor whose IoU with all objects is below this is background; those between are ignored. Default:
   * 0.4.
   */
  readonly negativeIou?: number;
  /**
   * What becomes of the anchors that have the largest IoU with an object, however small it is: `own` matches
   * them to the object that they themselves overlap most (torchvision), `claimed` to the object whose best
   * they are (mmdetection), `none` does nothing. Default: `own`.
   */
  readonly lowQualityMatches?: 'own' | 'claimed' | 'none';
}

/**
 * Gives each anchor an object's index, {@link backgroundAnchor} or {@link ignoredAnchor}. An object that no
 * anchor touches is not matched.
 *
 * @example
 * matchAnchors([[0, 0, 10, 10], [40, 40, 50, 50]], [[1, 0, 11, 10]]); // Int32Array [0, -1]
 */
export function matchAnchors(
  anchors: readonly Box[],
  objects: readonly Box[],
  { positiveIou = 0.5, negativeIou = 0.4, lowQualityMatches = 'own' }: MatchOptions = {},
): Int32Array {
  /** Of each anchor, the object with the largest IoU, and that IoU. */
  const nearest = new Int32Array(anchors.length);
  const largestIou = new Float64Array(anchors.length);
  const ious = objects.map((object, i) =>
    Float64Array.from(anchors, (anchor, j) => {
      const iou = boxIou(anchor, object);
      if (iou > largestIou[j]!) [largestIou[j], nearest[j]] = [iou, i];
      return iou;
    }),
  );
  const matches = Int32Array.from(anchors, (_, j) => {
    if (largestIou[j]! >= positiveIou) return nearest[j]!;
    return largestIou[j]! < negativeIou ? backgroundAnchor : ignoredAnchor;
  });
  if (lowQualityMatches === 'none') return matches;
  for (const [i, values] of ious.entries()) {
    const best = values.reduce((a, b) => Math.max(a, b), 0);
    if (best === 0) continue;
    for (const [j, value] of values.entries())
      if (value === best) matches[j] = lowQualityMatches === 'own' ? nearest[j]! : i;
  }
  return matches;
}
