import type { PvtConfigInput } from '@pvt/core';
import type { PreprocessingByNaming } from './preprocessing.ts';

/** A variant as data. */
export interface Preset {
  /** What `pvtConfig` completes. */
  readonly config: PvtConfigInput;
  readonly preprocessing: PreprocessingByNaming;
  /** Trainable values, including the classifier's. */
  readonly params: number;
  /** Published top-1 accuracy on the ImageNet-1k validation images, percent. */
  readonly top1?: number;
}
