import { ShapeError, type Image } from '@pvt/core';
import { checkImage, defaultMaxPixels } from './image.ts';
import { checkSize } from './resize.ts';

/**
 * First source pixel along one axis; negative where black is put before the image. Halves round to even, as
 * in Python.
 */
function offset(from: number, to: number): number {
  if (to > from) return -Math.floor((to - from) / 2);
  const half = (from - to) / 2;
  const below = Math.floor(half);
  return half === below || below % 2 === 0 ? below : below + 1;
}

/**
 * The middle [height, width] pixels of an image, with black around it where the crop is larger; offsets as in
 * torchvision's `CenterCrop`. An image of that size is returned unchanged.
 *
 * @throws ConfigError for a size that is not two positive integers
 * @throws ShapeError for an image whose data does not match its size, or a crop beyond 100 megapixels
 * @example
 * const square = centerCrop(image, [224, 224]);
 */
export function centerCrop(image: Image, size: readonly [height: number, width: number]): Image {
  checkImage('centerCrop', image);
  const [height, width] = checkSize('centerCrop', 'size', size);
  if (height === image.height && width === image.width) return image;
  if (height * width > defaultMaxPixels) {
    throw new ShapeError(
      'crop-too-large',
      `centerCrop: expected at most ${defaultMaxPixels} pixels, got ${height}x${width}; ` +
        'choose a smaller size.',
    );
  }
  const top = offset(image.height, height);
  const left = offset(image.width, width);
  const data = new Uint8Array(height * width * 3);
  const x = Math.max(0, left);
  const right = Math.min(image.width, left + width);
  for (let y = Math.max(0, top); y < Math.min(image.height, top + height); y++) {
    const row = image.data.subarray((y * image.width + x) * 3, (y * image.width + right) * 3);
    data.set(row, ((y - top) * width + x - left) * 3);
  }
  return { width, height, data };
}
