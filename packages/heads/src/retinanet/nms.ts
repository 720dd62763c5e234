import type { Box } from '@pvt/core';
import { boxIou } from './boxes.ts';

/** An object found in an image. */
export interface Detection {
  /** Pixels of the image. */
  readonly box: Box;
  /** Between 0 and 1. */
  readonly score: number;
  /** Index of the class. */
  readonly label: number;
}

/**
 * Greedy non-maximum suppression per class: from the best score down, drops detections whose IoU with a
 * better one of their class exceeds the threshold. Equal scores stay in order; boxes without area are never
 * dropped.
 *
 * @param maxDetections over all classes
 * @example
 * const best = nonMaxSuppression(candidates, 0.5, 100);
 */
export function nonMaxSuppression<D extends Detection>(
  detections: readonly D[],
  iouThreshold: number,
  maxDetections = Infinity,
): D[] {
  const selected: D[] = [];
  const byClass = new Map<number, Box[]>();
  // The sort is stable, and everything after the limit would be worse.
  for (const candidate of [...detections].sort((a, b) => b.score - a.score)) {
    if (selected.length >= maxDetections) break;
    const better = byClass.get(candidate.label) ?? [];
    if (better.some((box) => boxIou(box, candidate.box) > iouThreshold)) continue;
    better.push(candidate.box);
    byClass.set(candidate.label, better);
    selected.push(candidate);
  }
  return selected;
}
