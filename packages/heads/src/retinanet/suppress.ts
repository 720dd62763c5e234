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
 * Greedy non-maximum suppression per class: from the best score down, drops what overlaps a kept detection of its class by
 * more than `threshold`. Equal scores keep their order; boxes without area overlap nothing.
 *
 * @param limit of what is kept over all classes
 * @example
 * const kept = suppress(candidates, 0.5, 100);
 */
export function nonMaxSuppression<D extends Detection>(
  detections: readonly D[],
  threshold: number,
  limit = Infinity,
): D[] {
  const kept: D[] = [];
  const byClass = new Map<number, Box[]>();
  // Sorting is stable, and stopping at the limit leaves out only what would have come after.
  for (const candidate of [...detections].sort((a, b) => b.score - a.score)) {
    if (kept.length >= limit) break;
    const rivals = byClass.get(candidate.label) ?? byClass.set(candidate.label, []).get(candidate.label)!;
    if (rivals.some((box) => boxIou(box, candidate.box) > threshold)) continue;
    rivals.push(candidate.box);
    kept.push(candidate);
  }
  return kept;
}

/**
 * Places of the `count` largest values above `threshold`, best first, equal ones in order. Costs one comparison for
 * every value that does not get in, whatever the values are.
 *
 * @example
 * largest(Float32Array.of(0.1, 0.9, 0.5), 2, 0); // [1, 2]
 */
export function largest(values: ArrayLike<number>, count: number, threshold = -Infinity): number[] {
  // A heap whose root is the one that would leave next: the smallest value, the latest of equal ones.
  const heap: number[] = [];
  const worse = (a: number, b: number): boolean =>
    values[a]! < values[b]! || (values[a] === values[b] && a > b);
  const swap = (i: number, j: number) => ([heap[i], heap[j]] = [heap[j]!, heap[i]!]);
  const sink = (): void => {
    for (let i = 0, child = 1; child < heap.length; i = child, child = 2 * i + 1) {
      if (child + 1 < heap.length && worse(heap[child + 1]!, heap[child]!)) child++;
      if (!worse(heap[child]!, heap[i]!)) return;
      swap(i, child);
    }
  };
  if (count < 1) return [];
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    if (!(value > threshold)) continue;
    if (heap.length < count) {
      heap.push(index);
      for (
        let i = heap.length - 1, parent = (i - 1) >> 1;
        i > 0 && worse(heap[i]!, heap[parent]!);
        i = parent, parent = (i - 1) >> 1
      )
        swap(i, parent);
    } else if (value > values[heap[0]!]!) {
      heap[0] = index;
      sink();
    }
  }
  return heap.sort((a, b) => values[b]! - values[a]! || a - b);
}
