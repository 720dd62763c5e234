export type { Classifier, ClassifierOptions, ClassifierParts } from './classifier.ts';
export type {
  Backbone,
  Detector,
  DetectorOptions,
  DetectorParts,
  DetectorThresholds,
  NamedDetection,
} from './detector.ts';
export type { Prepared } from './image.ts';
export type { SegmentOptions, Segmenter, SegmenterOptions, SegmenterParts } from './segmenter.ts';
export type { CheckpointLike, Platform, RunOptions, StartRunner, Task, TaskOptions } from './task.ts';
