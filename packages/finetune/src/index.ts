export { augmentationFor, type AugmentationOptions } from './augmentation.ts';
export * from './classification.ts';
export * from './detection.ts';
export * from './evaluation.ts';
export * from './fewShot.ts';
export * from './finetuning.ts';
export {
  encodeWeights,
  fromScratch,
  type DenseTaskOptions,
  type EncodeOptions,
  type Initialization,
  type Learner,
  type TrainingBatch,
} from './learner.ts';
export * from './segmentation.ts';
