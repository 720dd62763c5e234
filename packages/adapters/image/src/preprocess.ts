import { ShapeError, type Picture, type Recipe } from '@pvt/core';
import * as tf from '@tensorflow/tfjs-core';
import { centerCrop } from './crop.ts';
import { applyLevels, levels } from './normalize.ts';
import { checkPicture } from './picture.ts';
import { resize, shortSideSize } from './resize.ts';

function fit(picture: Picture, { resize: step, crop }: Recipe): Picture {
  checkPicture('preprocess', picture);
  let fitted = picture;
  if (step) {
    const size = 'size' in step.to ? step.to.size : shortSideSize(picture, step.to.shortSide);
    fitted = resize(fitted, size, step.resampling);
  }
  return crop ? centerCrop(fitted, crop) : fitted;
}

/**
 * Pictures as a model takes them, [pictures, height, width, 3] in float32, prepared by the checkpoint's recipe. Equal
 * to Pillow with torchvision's transforms or Hugging Face's `PvtImageProcessor`, whose options a recipe spells out.
 *
 * @throws ShapeError for no pictures, pictures that end at different sizes, or data that does not fit its size
 * @throws ConfigError for a recipe that cannot be followed
 * @example
 * const input = preprocess(picture, {
 *   resize: { to: { shortSide: 248 }, resampling: 'bicubic' },
 *   crop: [224, 224],
 *   rescale: 1 / 255,
 *   normalize: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
 * }); // [1, 224, 224, 3]
 */
export function preprocess(pictures: Picture | readonly Picture[], recipe: Recipe): tf.Tensor4D {
  const batch = 'data' in pictures ? [pictures] : pictures;
  const table = levels(recipe);
  const fitted = batch.map((picture) => fit(picture, recipe));
  const [first] = fitted;
  if (!first)
    throw new ShapeError(
      'batch-empty',
      'preprocess: expected at least one picture, got an empty list; pass one.',
    );
  const { width, height, data } = first;
  for (const [index, other] of fitted.entries()) {
    if (other.width !== width || other.height !== height) {
      throw new ShapeError(
        'batch-mixed-sizes',
        `preprocess: expected every picture to end at ${height}x${width} as the first, got ${other.height}x${other.width} at index ${index}; add a crop or a fixed size to the recipe, or run them one by one.`,
      );
    }
  }
  const values = new Float32Array(fitted.length * data.length);
  fitted.forEach((picture, index) => applyLevels(picture.data, table, values.subarray(index * data.length)));
  return tf.tensor4d(values, [fitted.length, height, width, 3]);
}
