import type { Box } from '@pvt/core';
import { boxIou } from './boxes.ts';

/** What {@link matchAnchors} says of an anchor that no object takes: it is background, or it is left out of the loss. */
export const background = -1;
export const ignored = -2;

export interface MatchOptions {
  /** An anchor that overlaps some object by at least this, intersection over union, is that object's. */
  readonly positive?: number;
  /** One that overlaps all objects by less than this is background; those between are ignored. */
  readonly negative?: number;
  /**
   * What happens to the anchors that overlap an object most of all, however little: `own` gives them to the object that
   * they themselves overlap most (torchvision), `claimed` to the object whose best they are (mmdetection), `none` nothing.
   */
  readonly best?: 'own' | 'claimed' | 'none';
}

/**
 * Gives each anchor an object's index, {@link background} or {@link ignored}. An object that no anchor touches stays
 * without one.
 *
 * @example
 * matchAnchors([[0, 0, 10, 10], [40, 40, 50, 50]], [[1, 0, 11, 10]]); // Int32Array [0, -1]
 */
export function matchAnchors(
  anchors: readonly Box[],
  objects: readonly Box[],
  { positive = 0.5, negative = 0.4, best = 'own' }: MatchOptions = {},
): Int32Array {
  const nearest = new Int32Array(anchors.length);
  const most = new Float64Array(anchors.length);
  const shared = objects.map((object, i) =>
    Float64Array.from(anchors, (anchor, j) => {
      const value = boxIou(anchor, object);
      if (value > most[j]!) [most[j], nearest[j]] = [value, i];
      return value;
    }),
  );
  const matches = Int32Array.from(anchors, (_, j) =>
    most[j]! >= positive ? nearest[j]! : most[j]! < negative ? background : ignored,
  );
  if (best === 'none') return matches;
  for (const [i, values] of shared.entries()) {
    const top = values.reduce((a, b) => Math.max(a, b), 0);
    if (top === 0) continue;
    for (const [j, value] of values.entries())
      if (value === top) matches[j] = best === 'own' ? nearest[j]! : i;
  }
  return matches;
}
