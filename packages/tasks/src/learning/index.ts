export * from './classification.ts';
export * from './detection.ts';
export * from './evaluation.ts';
export { fromScratch, type Learner, type LearningBatch, type Start } from './learner.ts';
export * from './segmentation.ts';
