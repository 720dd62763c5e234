import type { Preset } from './preset.ts';
import { huggingFace, official } from './preprocessing.ts';

const dims = [64, 128, 320, 512] as const;

/** timm has no PVT v1. */
const preprocessing = { official, huggingFace } as const;

/**
 * PVT (arXiv:2102.12122, table 1; `classification/pvt.py` of whai362/PVT). `dropPath` is the published
 * training's.
 */
export const v1 = {
  pvt_tiny: {
    config: { version: 'v1', dims, depths: [2, 2, 2, 2], dropPath: 0.1 },
    preprocessing,
    params: 13_229_288,
    top1: 75.1,
  },
  pvt_small: {
    config: { version: 'v1', dims, depths: [3, 4, 6, 3], dropPath: 0.1 },
    preprocessing,
    params: 24_485_864,
    top1: 79.8,
  },
  pvt_medium: {
    config: { version: 'v1', dims, depths: [3, 4, 18, 3], dropPath: 0.3 },
    preprocessing,
    params: 44_208_104,
    top1: 81.2,
  },
  pvt_large: {
    config: { version: 'v1', dims, depths: [3, 8, 27, 3], dropPath: 0.3 },
    preprocessing,
    params: 61_369_320,
    top1: 81.7,
  },
  /**
   * The official code's `pvt_huge_v2`, which is a v1. No weights were published; the drop path is the one
   * that a comment in the code notes.
   */
  pvt_huge: {
    config: {
      version: 'v1',
      dims: [128, 256, 512, 768],
      depths: [3, 10, 60, 3],
      heads: [2, 4, 8, 12],
      dropPath: 0.02,
    },
    preprocessing: { official },
    params: 304_945_512,
  },
} as const satisfies Record<string, Preset>;
