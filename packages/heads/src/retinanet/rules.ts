import type { AnchorRules } from './anchors.ts';

/** Everything beyond the parameters in which two RetinaNets differ. */
export interface RetinaNetRules {
  readonly anchors: AnchorRules;
  /** What competes for a level's places: (anchor, class) pairs by their score, or anchors by the score of their best class. */
  readonly candidates: 'pairs' | 'anchors';
  /** Places per level. */
  readonly candidatesPerLevel: number;
  /** Scores have to be above. */
  readonly scoreThreshold: number;
  /** Of two detections of a class that overlap by more, intersection over union, the better one stays. */
  readonly iouThreshold: number;
  /** Detections per image, at most. */
  readonly maxDetections: number;
  /** Whether deltas that shrink an anchor are limited as those that grow it are. */
  readonly limitShrinking: boolean;
  /** Whether suppression sees boxes in the pixels of the `input` or of the `image`. */
  readonly nmsSpace: 'input' | 'image';
  /** An anchor that is some object's best: matched to that object (`claimed`), or to the one that it overlaps most. */
  readonly bestMatch: 'claimed' | 'own';
  /** Losses are divided by the matched anchors of each `image`, then averaged, or by those of the whole `batch`. */
  readonly normalizer: 'image' | 'batch';
}

/** Three sizes an octave from `scale` strides on. */
const octave =
  (scale: number) =>
  (stride: number): number[] =>
    [0, 1, 2].map((third) => scale * stride * 2 ** (third / 3));
const ratios = [0.5, 1, 2];

/** mmdetection 2: `retinanet_r50_fpn.py`, which the official PVT detection configs extend. */
export const mmdetRules: RetinaNetRules = {
  anchors: { sizes: octave(4), ratios, rounded: false, step: 'stride' },
  candidates: 'anchors',
  candidatesPerLevel: 1000,
  scoreThreshold: 0.05,
  iouThreshold: 0.5,
  maxDetections: 100,
  limitShrinking: true,
  nmsSpace: 'image',
  bestMatch: 'claimed',
  normalizer: 'batch',
};

/** torchvision: `models/detection/retinanet.py`. */
export const torchvisionRules: RetinaNetRules = {
  anchors: { sizes: (stride) => octave(4)(stride).map(Math.trunc), ratios, rounded: true, step: 'measured' },
  candidates: 'pairs',
  candidatesPerLevel: 1000,
  scoreThreshold: 0.05,
  iouThreshold: 0.5,
  maxDetections: 300,
  limitShrinking: false,
  nmsSpace: 'input',
  bestMatch: 'own',
  normalizer: 'image',
};

/**
 * {@link mmdetRules} with other anchors: the smallest measure `scale` strides of their level, where objects are smaller
 * than usual, or images scaled down.
 *
 * @example
 * const head = createRetinaNet({ features: neck.features, classes: 3, rules: retinaNetRules(2) }, randomInit(1));
 */
export const retinaNetRules = (scale = 4): RetinaNetRules => ({
  ...mmdetRules,
  anchors: { ...mmdetRules.anchors, sizes: octave(scale) },
});
