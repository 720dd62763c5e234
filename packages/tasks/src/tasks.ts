import { classifierOn, type Classifier, type ClassifierOptions, type ClassifierParts } from './classifier.ts';
import { detectorOn, type Detector, type DetectorOptions, type DetectorParts } from './detector.ts';
import { segmenterOn, type Segmenter, type SegmenterOptions, type SegmenterParts } from './segmenter.ts';
import type { CheckpointLike, Platform } from './task.ts';

/** The three tasks for one platform; what each does is told where they are exported. */
export function createTasks<S>(platform: Platform<S>) {
  return {
    createClassifier: (
      from: CheckpointLike | ClassifierParts,
      options?: ClassifierOptions,
    ): Promise<Classifier<S>> => classifierOn(platform, from, options),
    createSegmenter: (
      from: CheckpointLike | SegmenterParts,
      options?: SegmenterOptions,
    ): Promise<Segmenter<S>> => segmenterOn(platform, from, options),
    createDetector: (from: CheckpointLike | DetectorParts, options?: DetectorOptions): Promise<Detector<S>> =>
      detectorOn(platform, from, options),
  };
}
