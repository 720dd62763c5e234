import { imageNetNormalization } from '@pvt/core';
import type { Preset } from './preset.ts';
import { huggingFace, official, timm } from './preprocessing.ts';

const dims = [64, 128, 320, 512] as const;
const preprocessing = { official, timm, huggingFace } as const;

/**
 * PVT v2 (arXiv:2106.13797, table 1; `classification/pvt_v2.py` of whai362/PVT). `dropPath` is the published
 * training's.
 */
export const v2 = {
  pvt_v2_b0: {
    config: { version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2], dropPath: 0.1 },
    preprocessing,
    params: 3_666_760,
    top1: 70.5,
  },
  pvt_v2_b1: {
    config: { version: 'v2', dims, depths: [2, 2, 2, 2], dropPath: 0.1 },
    preprocessing,
    params: 14_009_000,
    top1: 78.7,
  },
  pvt_v2_b2: {
    config: { version: 'v2', dims, depths: [3, 4, 6, 3], dropPath: 0.1 },
    preprocessing,
    params: 25_362_856,
    top1: 82.0,
  },
  pvt_v2_b2_li: {
    config: { version: 'v2', dims, depths: [3, 4, 6, 3], linear: true, dropPath: 0.1 },
    preprocessing,
    params: 22_553_512,
    top1: 82.1,
  },
  pvt_v2_b3: {
    config: { version: 'v2', dims, depths: [3, 4, 18, 3], dropPath: 0.3 },
    preprocessing,
    params: 45_238_696,
    top1: 83.1,
  },
  pvt_v2_b4: {
    config: { version: 'v2', dims, depths: [3, 8, 27, 3], dropPath: 0.3 },
    preprocessing,
    params: 62_556_072,
    top1: 83.6,
  },
  pvt_v2_b5: {
    config: { version: 'v2', dims, depths: [3, 6, 40, 3], mlpRatios: [4, 4, 4, 4], dropPath: 0.3 },
    preprocessing,
    params: 81_956_008,
    top1: 83.8,
  },
  /**
   * Not a published variant: the small model of `@pvt/checkpoints`, trained on CIFAR-10 at 64x64. `top1` is
   * on the 10,000 test images.
   */
  pvt_v2_nano: {
    config: {
      version: 'v2',
      dims: [16, 32, 80, 128],
      depths: [2, 2, 2, 2],
      imageSize: [64, 64],
      classes: 10,
      dropPath: 0.05,
    },
    preprocessing: {
      official: {
        resize: { to: { shortSide: 64 }, resampling: 'bilinear' },
        crop: [64, 64],
        rescale: 1 / 255,
        normalize: imageNetNormalization,
      },
    },
    params: 871_610,
    top1: 78.1,
  },
} as const satisfies Record<string, Preset>;
