import type { AnchorRules } from './anchors.ts';

/** Everything beyond the parameters in which two RetinaNets differ. */
export interface RetinaNetRules {
  readonly anchors: AnchorRules;
  /**
   * Candidates of a level: (anchor, class) pairs by their score, or anchors by the score of their best class.
   */
  readonly candidates: 'pairs' | 'anchors';
  /** Most candidates of a level. */
  readonly candidatesPerLevel: number;
  /** Only scores above it count. */
  readonly scoreThreshold: number;
  /** Of two detections of a class with a larger IoU than this, only the better one stays. */
  readonly iouThreshold: number;
  /** Most detections of an image. */
  readonly maxDetections: number;
  /** Whether shrinking an anchor is limited as growing it is. */
  readonly limitShrinking: boolean;
  /** Whether non-maximum suppression compares boxes in pixels of the `input` or of the `image`. */
  readonly nmsSpace: 'input' | 'image';
  /** How the anchors with an object's largest IoU are matched in training, see `matchAnchors`. */
  readonly lowQualityMatches: 'claimed' | 'own';
  /**
   * Losses are divided by the matched anchors of each `image` and averaged, or by those of the whole `batch`.
   */
  readonly normalizer: 'image' | 'batch';
}

/** Three sizes per octave, from `scale` strides on. */
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
  lowQualityMatches: 'claimed',
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
  lowQualityMatches: 'own',
  normalizer: 'image',
};

/**
 * {@link mmdetRules} with other anchors, for objects that are smaller than usual.
 *
 * @param scale side of a level's smallest anchor, in strides of the level
 * @example
 * const rules = retinaNetRules(2);
 * const head = createRetinaNet({ features: neck.features, classes: 3, rules }, randomInit(1));
 */
export const retinaNetRules = (scale = 4): RetinaNetRules => ({
  ...mmdetRules,
  anchors: { ...mmdetRules.anchors, sizes: octave(scale) },
});
