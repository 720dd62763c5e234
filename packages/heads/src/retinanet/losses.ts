import * as tf from '@tensorflow/tfjs-core';
import { ConfigError, ShapeError, type LabelledBox } from '@pvt/core';
import { isCount } from '../features.ts';
import { anchorsOf } from './anchors.ts';
import { encodeBox, growthLimit } from './boxes.ts';
import { background, ignored, matchAnchors } from './match.ts';
import type { RetinaNetLevel } from './retinanet.ts';
import { mmdetRules, type RetinaNetRules } from './rules.ts';

/**
 * Focal loss (Lin et al., arXiv:1708.02002) of each logit.
 *
 * @param targets 1 for the class, 0 for all others, of the logits' shape
 * @param alpha weight of the targets that are 1, those that are 0 weigh 1 - alpha; `undefined` weighs both the same
 * @example
 * const loss = tf.sum(focalLoss(logits, targets));
 */
export function focalLoss<T extends tf.Tensor>(
  logits: T,
  targets: T,
  { alpha = 0.25, gamma = 2 }: { readonly alpha?: number | undefined; readonly gamma?: number } = {},
): T {
  return tf.tidy(() => {
    const entropy = tf.sub(tf.softplus(logits), tf.mul(logits, targets));
    const probability = tf.sigmoid(logits);
    // How far the probability is from the target: p for a target of 0, 1 - p for a target of 1.
    const wrong = tf.add(probability, tf.mul(targets, tf.sub(1, tf.mul(2, probability))));
    return tf.mul(balance(targets, alpha), tf.mul(tf.pow(wrong, gamma), entropy)) as T;
  });
}

const balance = (targets: tf.Tensor, alpha: number | undefined): tf.Tensor =>
  alpha === undefined || alpha < 0 ? tf.onesLike(targets) : tf.add(1 - alpha, tf.mul(targets, 2 * alpha - 1));

/** |x| with a gradient of 0 at 0, where tfjs has -1. */
const absolute = <T extends tf.Tensor>(x: T): T => tf.add(tf.relu(x), tf.relu(tf.neg(x)));

/**
 * Smooth L1 loss (Girshick, Fast R-CNN) of each difference: quadratic below `beta`, linear above; L1 where `beta` is 0.
 *
 * @example
 * smoothL1(tf.tensor1d([0.5, 2]), 1).print(); // [0.125, 1.5]
 */
export function smoothL1<T extends tf.Tensor>(differences: T, beta: number): T {
  return tf.tidy(() => {
    const distance = absolute(differences);
    if (beta === 0) return distance;
    // What lies below beta counts quadratically, what is beyond it as it is.
    const near = tf.minimum(distance, beta);
    return tf.add(tf.mul(tf.square(near), 0.5 / beta), tf.sub(distance, near)) as T;
  });
}

/**
 * Generalised IoU loss (Rezatofighi et al., arXiv:1902.09630) of each pair of boxes.
 *
 * @param a [..., 4], left, top, right, bottom
 * @param b as `a`
 * @returns [...]
 * @example
 * giouLoss(tf.tensor2d([[0, 0, 2, 2]]), tf.tensor2d([[0, 0, 2, 2]])).print(); // [0]
 */
export function giouLoss(a: tf.Tensor, b: tf.Tensor, eps = 1e-7): tf.Tensor {
  return tf.tidy(() => {
    const sides = (boxes: tf.Tensor) => tf.unstack(boxes, -1) as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
    const [left, top, right, bottom] = sides(a);
    const [left2, top2, right2, bottom2] = sides(b);
    const area = (width: tf.Tensor, height: tf.Tensor) => tf.mul(width, height);
    const shared = area(
      tf.relu(tf.sub(tf.minimum(right, right2), tf.maximum(left, left2))),
      tf.relu(tf.sub(tf.minimum(bottom, bottom2), tf.maximum(top, top2))),
    );
    const union = tf.sub(
      tf.add(
        area(tf.sub(right, left), tf.sub(bottom, top)),
        area(tf.sub(right2, left2), tf.sub(bottom2, top2)),
      ),
      shared,
    );
    const hull = area(
      tf.sub(tf.maximum(right, right2), tf.minimum(left, left2)),
      tf.sub(tf.maximum(bottom, bottom2), tf.minimum(top, top2)),
    );
    const iou = tf.div(shared, tf.add(union, eps));
    return tf.add(tf.sub(1, iou), tf.div(tf.sub(hull, union), tf.add(hull, eps)));
  });
}

/**
 * Boxes that deltas make of anchors, as `decodeBox` does one by one.
 *
 * @param anchors [..., 4]
 * @param deltas [..., 4]
 */
export function decodeBoxes(anchors: tf.Tensor, deltas: tf.Tensor, limitShrinking: boolean): tf.Tensor {
  return tf.tidy(() => {
    const [left, top, right, bottom] = tf.unstack(anchors, -1) as [
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
    ];
    const [dx, dy, dw, dh] = tf.unstack(deltas, -1) as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
    const along = (from: tf.Tensor, to: tf.Tensor, shift: tf.Tensor, growth: tf.Tensor) => {
      const side = tf.sub(to, from);
      const center = tf.add(tf.add(from, tf.div(side, 2)), tf.mul(shift, side));
      const half = tf.div(
        tf.mul(side, tf.exp(tf.clipByValue(growth, limitShrinking ? -growthLimit : -1e4, growthLimit))),
        2,
      );
      return [tf.sub(center, half), tf.add(center, half)] as const;
    };
    const [l, r] = along(left, right, dx, dw);
    const [t, b] = along(top, bottom, dy, dh);
    return tf.stack([l, t, r, b], -1);
  });
}

export interface RetinaNetLossOptions {
  /** {@link mmdetRules} where absent. */
  readonly rules?: RetinaNetRules;
  /** [height, width] of the model's input, padding included. */
  readonly input: readonly [height: number, width: number];
  /** What compares boxes: L1 or smooth L1 of deltas, or generalised IoU of boxes. L1 where absent. */
  readonly regression?: 'l1' | { readonly smoothL1: number } | 'giou';
}

/**
 * RetinaNet's two losses for a batch of images with their objects; train on their sum. Anchors between the thresholds
 * are left out of the first, all that no object matches out of the second.
 *
 * @throws ShapeError where objects and batch differ in number, ConfigError for a label that is no class or a box without area
 * @example
 * const { classification, regression } = retinaNetLoss(head.forward(fpn.forward(pyramid)), [[{ box: [8, 8, 40, 30], label: 2 }]], { input: [96, 128] });
 * const loss = tf.add(classification, regression);
 */
export function retinaNetLoss(
  levels: readonly RetinaNetLevel[],
  objects: readonly (readonly LabelledBox[])[],
  { rules = mmdetRules, input, regression = 'l1' }: RetinaNetLossOptions,
): { classification: tf.Scalar; regression: tf.Scalar } {
  const [batch, , classes] = levels[0]!.logits.shape;
  if (objects.length !== batch)
    throw new ShapeError(
      'objects-misfit',
      `retinaNetLoss: expected the objects of ${batch} images, got ${objects.length} lists; pass one list per image, empty where there is nothing.`,
    );
  for (const { box, label } of objects.flat()) {
    if (!isCount(label, 0) || label >= classes)
      throw new ConfigError(
        'label-invalid',
        `retinaNetLoss: expected labels between 0 and ${classes - 1}, got ${label}; count classes from 0.`,
      );
    if (!(box[2] > box[0] && box[3] > box[1]))
      throw new ConfigError(
        'box-invalid',
        `retinaNetLoss: expected boxes [left, top, right, bottom] with an area, got [${box}]; leave it out.`,
      );
  }
  const anchors = levels.flatMap((level) => {
    const at = anchorsOf(rules.anchors, level, input);
    return Array.from({ length: level.logits.shape[1] }, (_, index) => at(index));
  });
  const count = anchors.length;
  const targets = new Float32Array(batch * count * classes);
  const deltas = new Float32Array(batch * count * 4);
  const weights = new Float32Array(batch * count);
  const boxWeights = new Float32Array(batch * count);
  const matches = objects.map((some) =>
    matchAnchors(
      anchors,
      some.map(({ box }) => box),
      { best: rules.bestMatch },
    ),
  );
  const matched = matches.map((one) => Math.max(1, one.filter((object) => object >= 0).length));
  const all = matched.reduce((a, b) => a + b, 0);
  for (const [i, one] of matches.entries()) {
    const weight = rules.normalizer === 'image' ? 1 / (matched[i]! * batch) : 1 / all;
    for (const [j, object] of one.entries()) {
      const at = i * count + j;
      if (object !== ignored) weights[at] = weight;
      if (object === ignored || object === background) continue;
      const { box, label } = objects[i]![object]!;
      targets[at * classes + label] = 1;
      boxWeights[at] = weight;
      deltas.set(encodeBox(anchors[j]!, box), at * 4);
    }
  }
  return tf.tidy(() => {
    const logits = tf.concat(
      levels.map((level) => level.logits),
      1,
    );
    const found = tf.concat(
      levels.map((level) => level.deltas),
      1,
    );
    const wanted = tf.tensor3d(deltas, [batch, count, 4]);
    const focal = focalLoss(logits, tf.tensor3d(targets, [batch, count, classes]));
    let apart: tf.Tensor;
    if (regression === 'giou') {
      const places = tf.tensor2d(Float32Array.from(anchors.flat()), [count, 4]);
      apart = giouLoss(decodeBoxes(places, found, rules.limitShrinking), decodeBoxes(places, wanted, false));
    } else apart = tf.sum(smoothL1(tf.sub(found, wanted), regression === 'l1' ? 0 : regression.smoothL1), -1);
    return {
      classification: tf.sum(tf.mul(focal, tf.tensor3d(weights, [batch, count, 1]))) as tf.Scalar,
      regression: tf.sum(tf.mul(apart, tf.tensor2d(boxWeights, [batch, count]))) as tf.Scalar,
    };
  });
}
