import { type Preprocessing, imageNetNormalization } from '@pvt/core';

/** Preprocessing by whose evaluation it reproduces: each code base feeds the same model other pixels. */
export interface PreprocessingByNaming {
  /** whai362/PVT: `classification/datasets.py`. */
  readonly official?: Preprocessing;
  /** timm: crop_pct 0.9. */
  readonly timm?: Preprocessing;
  /** Hugging Face transformers: `PvtImageProcessor`. */
  readonly huggingFace?: Preprocessing;
}

const crop224 = { crop: [224, 224], rescale: 1 / 255, normalize: imageNetNormalization } as const;

export const official = {
  resize: { to: { shortSide: 256 }, resampling: 'bicubic' },
  ...crop224,
} as const satisfies Preprocessing;

/** 248 is 224 / 0.9, rounded down. */
export const timm = {
  resize: { to: { shortSide: 248 }, resampling: 'bicubic' },
  ...crop224,
} as const satisfies Preprocessing;

export const huggingFace = {
  resize: { to: { size: [224, 224] }, resampling: 'bilinear' },
  rescale: 1 / 255,
  normalize: imageNetNormalization,
} as const satisfies Preprocessing;

/** Each code base's evaluation on ImageNet-1k at 224x224. */
export const imageNetEvaluation = { official, timm, huggingFace } as const satisfies PreprocessingByNaming;
