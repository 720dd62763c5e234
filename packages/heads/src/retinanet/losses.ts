import * as tf from '@tensorflow/tfjs-core';
import { ConfigError, ShapeError, type Box, type LabelledBox, type Size } from '@pvt/core';
import { isCount } from '../features.ts';
import { anchorGenerator } from './anchors.ts';
import { encodeBox, maxLogScale } from './boxes.ts';
import { backgroundAnchor, ignoredAnchor, matchAnchors } from './match.ts';
import type { RetinaNetLevel } from './retinanet.ts';
import { mmdetRules, type RetinaNetRules } from './rules.ts';

/**
 * Focal loss (Lin et al., arXiv:1708.02002) of each logit.
 *
 * @param targets 1 for the class, 0 for all others, of the logits' shape
 * @param alpha weight of targets that are 1, while those that are 0 weigh 1 - alpha. Default: 0.25;
 * `undefined` weighs both the same.
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
    // Distance of the probability from the target: p for a target of 0, 1 - p for a target of 1.
    const distance = tf.add(probability, tf.mul(targets, tf.sub(1, tf.mul(2, probability))));
    return tf.mul<T>(balance(targets, alpha), tf.mul(tf.pow(distance, gamma), entropy));
  });
}

const balance = (targets: tf.Tensor, alpha: number | undefined): tf.Tensor =>
  alpha === undefined || alpha < 0 ? tf.onesLike(targets) : tf.add(1 - alpha, tf.mul(targets, 2 * alpha - 1));

/** |x| with a gradient of 0 at 0, where tfjs has -1. */
const absolute = <T extends tf.Tensor>(x: T): T => tf.add(tf.relu(x), tf.relu(tf.neg(x)));

/**
 * Smooth L1 loss (Girshick, Fast R-CNN) of each difference: quadratic below `beta`, linear above; L1 for a
 * `beta` of 0.
 *
 * @example
 * smoothL1Loss(tf.tensor1d([0.5, 2]), 1).print(); // [0.125, 1.5]
 */
export function smoothL1Loss<T extends tf.Tensor>(differences: T, beta: number): T {
  return tf.tidy(() => {
    const distance = absolute(differences);
    if (beta === 0) return distance;
    // The part below beta counts quadratically, the part beyond it linearly.
    const near = tf.minimum(distance, beta);
    return tf.add<T>(tf.mul(tf.square(near), 0.5 / beta), tf.sub(distance, near));
  });
}

/** The four sides of boxes [..., 4]. */
const unstackBoxes = (boxes: tf.Tensor) =>
  tf.unstack(boxes, -1) as [left: tf.Tensor, top: tf.Tensor, right: tf.Tensor, bottom: tf.Tensor];

/**
 * Generalized IoU loss (Rezatofighi et al., arXiv:1902.09630) of each pair of boxes.
 *
 * @param a [..., 4], left, top, right, bottom
 * @param b as `a`
 * @returns [...]
 * @example
 * giouLoss(tf.tensor2d([[0, 0, 2, 2]]), tf.tensor2d([[0, 0, 2, 2]])).print(); // [0]
 */
export function giouLoss(a: tf.Tensor, b: tf.Tensor, eps = 1e-7): tf.Tensor {
  return tf.tidy(() => {
    const [left, top, right, bottom] = unstackBoxes(a);
    const [left2, top2, right2, bottom2] = unstackBoxes(b);
    const areaA = tf.mul(tf.sub(right, left), tf.sub(bottom, top));
    const areaB = tf.mul(tf.sub(right2, left2), tf.sub(bottom2, top2));
    const intersection = tf.mul(
      tf.relu(tf.sub(tf.minimum(right, right2), tf.maximum(left, left2))),
      tf.relu(tf.sub(tf.minimum(bottom, bottom2), tf.maximum(top, top2))),
    );
    const union = tf.sub(tf.add(areaA, areaB), intersection);
    const hull = tf.mul(
      tf.sub(tf.maximum(right, right2), tf.minimum(left, left2)),
      tf.sub(tf.maximum(bottom, bottom2), tf.minimum(top, top2)),
    );
    const iou = tf.div(intersection, tf.add(union, eps));
    return tf.add(tf.sub(1, iou), tf.div(tf.sub(hull, union), tf.add(hull, eps)));
  });
}

/**
 * The boxes that deltas make of anchors, as `decodeBox` computes them one by one.
 *
 * @param anchors [..., 4]
 * @param deltas [..., 4]
 */
export function decodeBoxes(anchors: tf.Tensor, deltas: tf.Tensor, limitShrinking: boolean): tf.Tensor {
  const min = limitShrinking ? -maxLogScale : -1e4;
  const decodeSide = (from: tf.Tensor, to: tf.Tensor, shift: tf.Tensor, logScale: tf.Tensor) => {
    const side = tf.sub(to, from);
    const center = tf.add(tf.add(from, tf.div(side, 2)), tf.mul(shift, side));
    const half = tf.div(tf.mul(side, tf.exp(tf.clipByValue(logScale, min, maxLogScale))), 2);
    return [tf.sub(center, half), tf.add(center, half)] as const;
  };
  return tf.tidy(() => {
    const [left, top, right, bottom] = unstackBoxes(anchors);
    const [dx, dy, dw, dh] = unstackBoxes(deltas);
    const [l, r] = decodeSide(left, right, dx, dw);
    const [t, b] = decodeSide(top, bottom, dy, dh);
    return tf.stack([l, t, r, b], -1);
  });
}

export interface RetinaNetLossOptions {
  /** Default: {@link mmdetRules}. */
  readonly rules?: RetinaNetRules;
  /** [height, width] of the model's input, padding included. */
  readonly input: Size;
  /** How boxes are compared: L1 or smooth L1 of deltas, or generalized IoU of boxes. Default: `l1`. */
  readonly regression?: 'l1' | { readonly smoothL1: number } | 'giou';
}

/** @throws ShapeError if there is not one list per image, ConfigError for an invalid label or box */
function checkObjects(objects: readonly (readonly LabelledBox[])[], batch: number, classes: number): void {
  if (objects.length !== batch) {
    throw new ShapeError(
      'objects-misfit',
      `retinaNetLoss: expected the objects of ${batch} images, got ${objects.length} lists; ` +
        'pass one list per image, empty if it has no objects.',
    );
  }
  for (const { box, label } of objects.flat()) {
    if (!isCount(label, 0) || label >= classes) {
      throw new ConfigError(
        'label-invalid',
        `retinaNetLoss: expected labels between 0 and ${classes - 1}, got ${label}; count classes from 0.`,
      );
    }
    if (!(box[2] > box[0] && box[3] > box[1])) {
      throw new ConfigError(
        'box-invalid',
        `retinaNetLoss: expected boxes [left, top, right, bottom] with an area, got [${box}]; leave it out.`,
      );
    }
  }
}

/** What the losses compare a batch with, and the weight of each term; row-major. */
interface Targets {
  /** [B, N, classes], 1 for the class of a matched anchor. */
  readonly classes: Float32Array;
  /** [B, N], 0 for ignored anchors. */
  readonly classWeights: Float32Array;
  /** [B, N, 4] */
  readonly deltas: Float32Array;
  /** [B, N], 0 for all but matched anchors. */
  readonly boxWeights: Float32Array;
}

function assignTargets(
  anchors: readonly Box[],
  objects: readonly (readonly LabelledBox[])[],
  classes: number,
  { lowQualityMatches, normalizer }: RetinaNetRules,
): Targets {
  const [batch, count] = [objects.length, anchors.length];
  const targets: Targets = {
    classes: new Float32Array(batch * count * classes),
    classWeights: new Float32Array(batch * count),
    deltas: new Float32Array(batch * count * 4),
    boxWeights: new Float32Array(batch * count),
  };
  const matches = objects.map((own) => {
    const boxes = own.map(({ box }) => box);
    return matchAnchors(anchors, boxes, { lowQualityMatches });
  });
  const matched = matches.map((own) => Math.max(1, own.filter((object) => object >= 0).length));
  const total = matched.reduce((a, b) => a + b, 0);
  for (const [image, own] of matches.entries()) {
    const weight = normalizer === 'image' ? 1 / (matched[image]! * batch) : 1 / total;
    for (const [anchor, object] of own.entries()) {
      const i = image * count + anchor;
      if (object !== ignoredAnchor) targets.classWeights[i] = weight;
      if (object === ignoredAnchor || object === backgroundAnchor) continue;
      const { box, label } = objects[image]![object]!;
      targets.classes[i * classes + label] = 1;
      targets.boxWeights[i] = weight;
      targets.deltas.set(encodeBox(anchors[anchor]!, box), i * 4);
    }
  }
  return targets;
}

/** Loss of each box, [B, N]. */
function boxLoss(
  predicted: tf.Tensor3D,
  target: tf.Tensor3D,
  anchors: readonly Box[],
  regression: NonNullable<RetinaNetLossOptions['regression']>,
  { limitShrinking }: RetinaNetRules,
): tf.Tensor {
  if (regression === 'giou') {
    const boxes = tf.tensor2d(Float32Array.from(anchors.flat()), [anchors.length, 4]);
    return giouLoss(decodeBoxes(boxes, predicted, limitShrinking), decodeBoxes(boxes, target, false));
  }
  const beta = regression === 'l1' ? 0 : regression.smoothL1;
  return tf.sum(smoothL1Loss(tf.sub(predicted, target), beta), -1);
}

/**
 * RetinaNet's two losses for a batch of images with their objects; train on their sum. Anchors between the
 * thresholds do not count in the first, anchors without an object not in the second.
 *
 * @throws ShapeError if there is not one list of objects per image, ConfigError for a label that is no class
 * or a box without area
 * @example
 * const levels = head.forward(fpn.forward(pyramid));
 * const objects = [[{ box: [8, 8, 40, 30], label: 2 }]];
 * const { classification, regression } = retinaNetLoss(levels, objects, { input: [96, 128] });
 * const loss = tf.add(classification, regression);
 */
export function retinaNetLoss(
  levels: readonly RetinaNetLevel[],
  objects: readonly (readonly LabelledBox[])[],
  { rules = mmdetRules, input, regression = 'l1' }: RetinaNetLossOptions,
): { classification: tf.Scalar; regression: tf.Scalar } {
  const [batch, , classes] = levels[0]!.logits.shape;
  checkObjects(objects, batch, classes);
  const anchors = levels.flatMap((level) => {
    const anchorAt = anchorGenerator(rules.anchors, level, input);
    return Array.from({ length: level.logits.shape[1] }, (_, index) => anchorAt(index));
  });
  const count = anchors.length;
  const targets = assignTargets(anchors, objects, classes, rules);
  const concat = (tensors: tf.Tensor3D[]) => tf.concat(tensors, 1);
  return tf.tidy(() => {
    const logits = concat(levels.map((level) => level.logits));
    const deltas = concat(levels.map((level) => level.deltas));
    const targetDeltas = tf.tensor3d(targets.deltas, [batch, count, 4]);
    const focal = focalLoss(logits, tf.tensor3d(targets.classes, [batch, count, classes]));
    const boxes = boxLoss(deltas, targetDeltas, anchors, regression, rules);
    const classWeights = tf.tensor3d(targets.classWeights, [batch, count, 1]);
    const boxWeights = tf.tensor2d(targets.boxWeights, [batch, count]);
    return {
      classification: tf.sum(tf.mul(focal, classWeights)),
      regression: tf.sum(tf.mul(boxes, boxWeights)),
    };
  });
}
