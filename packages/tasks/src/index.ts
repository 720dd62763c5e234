export { backboneConfig } from './checkpoint.ts';
export {
  createClassifier,
  type Classifier,
  type ClassifierOptions,
  type ClassifierParts,
  type ClassifyOptions,
} from './classifier.ts';
export {
  createDetector,
  type Detector,
  type DetectorOptions,
  type DetectorOutput,
  type DetectorThresholds,
  type DetectOptions,
  type NamedDetection,
} from './detector.ts';
export type { ImageInput, InputOptions } from './image.ts';
export { cocoNames, torchvisionCocoNames } from './names.ts';
export { disposeOnError } from './parts.ts';
export { hasDetectionHead, readDetector } from './retinaNet.ts';
export type { CreateRunner, Runner } from './runner.ts';
export { hasSegmentationHead, readSegmenter } from './segmentationHead.ts';
export {
  createSegmenter,
  type Segmenter,
  type SegmenterOptions,
  type SegmenterOutput,
  type SegmentOptions,
} from './segmenter.ts';
export {
  isCheckpoint,
  type CheckpointLike,
  type OneOrMany,
  type RunOptions,
  type Task,
  type TaskOptions,
} from './task.ts';
