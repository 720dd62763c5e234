import { isImage } from '@pvt/core';
import { readImage } from '@pvt/adapter-image';
import { loadCheckpoint } from '@pvt/presets';
import { createTasks } from './tasks.ts';

export * from './types.ts';
export { cocoNames, torchvisionCocoNames } from './names.ts';
export { createTasks };

const tasks = createTasks<string | URL | Uint8Array>({
  loadCheckpoint,
  openImage: async (source, signal) => (isImage(source) ? source : readImage(source, signal && { signal })),
});

/**
 * What is in an image: class names with probabilities, best first. The checkpoint may be a name, a hub repository, a URL, a File,
 * bytes, or one that is loaded already; or give the model and its recipe yourself.
 *
 * @throws ConfigError where the checkpoint does not say how its images are prepared, and all that `loadCheckpoint` and `readImage` throw; the signal's reason after an abort
 * @example
 * const classifier = await createClassifier('pvt_v2_b2.in1k');
 * const [best] = await classifier.classify('street.jpg');
 * classifier.dispose();
 */
export const createClassifier = tasks.createClassifier;

/**
 * The class of every pixel of an image, from a checkpoint with mmsegmentation's semantic FPN or UPerNet, or with SegFormer's, a U-Net's or
 * a linear head, or from parts of your own.
 *
 * @throws CheckpointError `head-missing` where the checkpoint has no head for it, and all that `loadCheckpoint` and `readImage` throw; the signal's reason after an abort
 * @example
 * const segmenter = await createSegmenter('fpn_pvt_v2_b0_ade20k.pth');
 * const { width, height, labels } = await segmenter.segment('street.jpg');
 * segmenter.dispose();
 */
export const createSegmenter = tasks.createSegmenter;

/**
 * The objects in an image, with boxes in its own pixels, from a RetinaNet's checkpoint of mmdetection (the official PVT detectors) or
 * torchvision, or from parts of your own.
 *
 * @throws CheckpointError `head-missing` where the checkpoint has no head for it, and all that `loadCheckpoint` and `readImage` throw; the signal's reason after an abort
 * @example
 * const detector = await createDetector('retinanet_pvt_v2_b0.pth');
 * const objects = await detector.detect('street.jpg', { scoreThreshold: 0.3 });
 * detector.dispose();
 */
export const createDetector = tasks.createDetector;
