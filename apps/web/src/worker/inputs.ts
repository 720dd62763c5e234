import { readImage } from '@pvt/adapter-image';
import { imageNetNormalization, type Image, type Preprocessing, type Size } from '@pvt/core';
import type { Checkpoint } from '@pvt/presets';

/** Sides of an explored input are multiples of this, so that the map of every stage divides evenly. */
const sideMultiple = 32;

/** Stretches an image to `size` and normalizes it as published PVTs expect. */
export const stretchedTo = (size: Size): Preprocessing => ({
  resize: { to: { size }, resampling: 'bilinear' },
  rescale: 1 / 255,
  normalize: imageNetNormalization,
});

/** The checkpoint's own preprocessing. Default: stretched to the size that the model was trained at. */
export const preprocessingOf = ({ preprocessing, config }: Checkpoint): Preprocessing =>
  preprocessing ?? stretchedTo(config.imageSize);

/** The size of a classifier's input: that of its crop, else of its resize, else of its training. */
export function classifierInputSize(checkpoint: Checkpoint): Size {
  const { crop, resize } = preprocessingOf(checkpoint);
  if (crop !== undefined) return crop;
  return resize !== undefined && 'size' in resize.to ? resize.to.size : checkpoint.config.imageSize;
}

/**
 * The size at which an image is explored: its aspect ratio, up to 3:1, with the shorter side near `shortSide`
 * and both sides a multiple of 32.
 */
export function exploredSize({ width, height }: Pick<Image, 'width' | 'height'>, shortSide: number): Size {
  const scale = shortSide / Math.min(width, height);
  const sideOf = (pixels: number) =>
    sideMultiple * Math.max(1, Math.round(Math.min(pixels * scale, 3 * shortSide) / sideMultiple));
  return [sideOf(height), sideOf(width)];
}

/** Reads a bitmap's pixels and closes it. */
export async function imageOf(bitmap: ImageBitmap): Promise<Image> {
  try {
    return await readImage(bitmap);
  } finally {
    bitmap.close();
  }
}
