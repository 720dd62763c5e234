import { ShapeError, type Image, type Preprocessing } from '@pvt/core';
import * as tf from '@tensorflow/tfjs-core';
import { centerCrop } from './crop.ts';
import { applyLevels, levels } from './normalize.ts';
import { checkImage } from './image.ts';
import { resize, shortSideSize } from './resize.ts';

function resizeAndCrop(image: Image, { resize: step, crop }: Preprocessing): Image {
  checkImage('preprocess', image);
  let resized = image;
  if (step) {
    const size = 'size' in step.to ? step.to.size : shortSideSize(image, step.to.shortSide);
    resized = resize(image, size, step.resampling);
  }
  return crop ? centerCrop(resized, crop) : resized;
}

/**
 * Images as a classifier takes them, [images, height, width, 3] in float32, prepared as the checkpoint says.
 * Equal to Pillow with torchvision's transforms or Hugging Face's `PvtImageProcessor`.
 *
 * @throws ShapeError for no images, images that end at different sizes, or data that does not match its size
 * @throws ConfigError for invalid preprocessing
 * @example
 * const input = preprocess(image, {
 *   resize: { to: { shortSide: 248 }, resampling: 'bicubic' },
 *   crop: [224, 224],
 *   rescale: 1 / 255,
 *   normalize: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
 * }); // [1, 224, 224, 3]
 */
export function preprocess(images: Image | readonly Image[], preprocessing: Preprocessing): tf.Tensor4D {
  const batch = 'data' in images ? [images] : images;
  const table = levels(preprocessing);
  const resized = batch.map((image) => resizeAndCrop(image, preprocessing));
  const [first] = resized;
  if (!first)
    throw new ShapeError(
      'batch-empty',
      'preprocess: expected at least one image, got an empty list; pass one.',
    );
  const { width, height, data } = first;
  for (const [index, other] of resized.entries()) {
    if (other.width !== width || other.height !== height) {
      throw new ShapeError(
        'batch-mixed-sizes',
        `preprocess: expected every image to end at ${height}x${width} as the first, ` +
          `got ${other.height}x${other.width} at index ${index}; ` +
          'add a crop or a fixed size to the preprocessing, or run them one by one.',
      );
    }
  }
  const values = new Float32Array(resized.length * data.length);
  resized.forEach((image, index) => applyLevels(image.data, table, values.subarray(index * data.length)));
  return tf.tensor4d(values, [resized.length, height, width, 3]);
}
