import type { PvtConfig } from '../config.ts';
import { linearSpec } from '../layers/linear.ts';
import { pvtSpec } from './pvt.ts';

/** The linear classifier on a backbone's embedding: weight (classes, channels) and bias (classes). */
export const classifierSpec = (channels: number, classes: number) => linearSpec(channels, classes);

/**
 * Every parameter of a backbone and, if the config has classes, its classifier, as a canonical checkpoint
 * names them.
 */
export const pvtClassifierSpec = (config: PvtConfig) => ({
  ...pvtSpec(config),
  ...(config.classes > 0 && { head: classifierSpec(config.dims.at(-1)!, config.classes) }),
});
