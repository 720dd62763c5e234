import type { Box, Size } from '@pvt/core';

/** Offsets of a box from an anchor: center in anchor sides, sides as logarithms of ratios. */
export type BoxDeltas = readonly [dx: number, dy: number, dw: number, dh: number];

/** Largest factor by which an anchor's side grows, as a logarithm: from 16 to 1000 pixels. */
export const maxLogScale = Math.log(1000 / 16);

const centered = ([left, top, right, bottom]: Box) =>
  [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top] as const;

/**
 * The deltas that turn an anchor into a box (Girshick, R-CNN, appendix C), all weights 1.
 *
 * @example
 * encodeBox([0, 0, 10, 10], [5, 0, 15, 10]); // [0.5, 0, 0, 0]
 */
export function encodeBox(anchor: Box, box: Box): BoxDeltas {
  const [ax, ay, aw, ah] = centered(anchor);
  const [x, y, w, h] = centered(box);
  return [(x - ax) / aw, (y - ay) / ah, Math.log(w / aw), Math.log(h / ah)];
}

/**
 * The box that deltas make of an anchor. No side grows by more than 1000 / 16.
 *
 * @param limitShrinking whether the limit holds for shrinking too
 * @example
 * decodeBox([0, 0, 10, 10], [0.5, 0, 0, 0], false); // [5, 0, 15, 10]
 */
export function decodeBox(anchor: Box, [dx, dy, dw, dh]: BoxDeltas, limitShrinking: boolean): Box {
  const [ax, ay, aw, ah] = centered(anchor);
  const min = limitShrinking ? -maxLogScale : -Infinity;
  const clip = (logScale: number): number => Math.max(Math.min(logScale, maxLogScale), min);
  const [x, y] = [ax + dx * aw, ay + dy * ah];
  const [halfWidth, halfHeight] = [(aw * Math.exp(clip(dw))) / 2, (ah * Math.exp(clip(dh))) / 2];
  return [x - halfWidth, y - halfHeight, x + halfWidth, y + halfHeight];
}

/** The part of a box within an image of this size; a box outside shrinks to the border. */
export function clipBox([left, top, right, bottom]: Box, [height, width]: Size): Box {
  const clip = (value: number, limit: number) => Math.min(Math.max(value, 0), limit);
  return [clip(left, width), clip(top, height), clip(right, width), clip(bottom, height)];
}

export const boxArea = ([left, top, right, bottom]: Box): number => (right - left) * (bottom - top);

/**
 * Intersection over union; NaN for two boxes without area.
 *
 * @example
 * boxIou([0, 0, 2, 2], [1, 0, 3, 2]); // 1 / 3
 */
export function boxIou(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const intersection = width > 0 && height > 0 ? width * height : 0;
  return intersection / (boxArea(a) + boxArea(b) - intersection);
}
