import type { Box } from '@pvt/core';

/** Offsets of a box from an anchor: centre in anchor sides, sides as logarithms of ratios. */
export type Deltas = readonly [dx: number, dy: number, dw: number, dh: number];

/** Largest growth of an anchor's side that is decoded, as a logarithm: from 16 to 1000 pixels. */
export const growthLimit = Math.log(1000 / 16);

/**
 * What an anchor must move by to become a box (Girshick, R-CNN, appendix C), all weights 1.
 *
 * @example
 * encodeBox([0, 0, 10, 10], [5, 0, 15, 10]); // [0.5, 0, 0, 0]
 */
export function encodeBox(anchor: Box, box: Box): Deltas {
  const [ax, ay, aw, ah] = centered(anchor);
  const [x, y, w, h] = centered(box);
  return [(x - ax) / aw, (y - ay) / ah, Math.log(w / aw), Math.log(h / ah)];
}

const centered = ([left, top, right, bottom]: Box) =>
  [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top] as const;

/**
 * The box that deltas make of an anchor. Growth is cut at {@link growthLimit}; shrinking too where `limitShrinking`.
 *
 * @example
 * decodeBox([0, 0, 10, 10], [0.5, 0, 0, 0], false); // [5, 0, 15, 10]
 */
export function decodeBox(anchor: Box, [dx, dy, dw, dh]: Deltas, limitShrinking: boolean): Box {
  const [ax, ay, aw, ah] = centered(anchor);
  const cut = (growth: number): number =>
    Math.max(Math.min(growth, growthLimit), limitShrinking ? -growthLimit : -Infinity);
  const [x, y] = [ax + dx * aw, ay + dy * ah];
  const [w, h] = [(aw * Math.exp(cut(dw))) / 2, (ah * Math.exp(cut(dh))) / 2];
  return [x - w, y - h, x + w, y + h];
}

/** The part of a box inside an image of this [height, width]; a box outside shrinks to the border. */
export function clipBox([left, top, right, bottom]: Box, [height, width]: readonly [number, number]): Box {
  const within = (value: number, limit: number) => Math.min(Math.max(value, 0), limit);
  return [within(left, width), within(top, height), within(right, width), within(bottom, height)];
}

const area = ([left, top, right, bottom]: Box): number => (right - left) * (bottom - top);

/**
 * Intersection over union; NaN for two boxes without area.
 *
 * @example
 * overlap([0, 0, 2, 2], [1, 0, 3, 2]); // 1 / 3
 */
export function boxIou(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const shared = width > 0 && height > 0 ? width * height : 0;
  return shared / (area(a) + area(b) - shared);
}
