import { ShapeError, type Picture } from '@pvt/core';
import { checkPicture, defaultMaxPixels } from './picture.ts';
import { checkSize } from './resize.ts';

/** First source pixel along one axis; negative where black is put before the picture. Halves round to even, as in Python. */
function offset(from: number, to: number): number {
  if (to > from) return -Math.floor((to - from) / 2);
  const half = (from - to) / 2;
  const below = Math.floor(half);
  return half === below || below % 2 === 0 ? below : below + 1;
}

/**
 * The middle [height, width] pixels of a picture, with black around it where the crop is larger; offsets as in
 * torchvision's `CenterCrop`. A picture of that size already is returned as it is.
 *
 * @throws ConfigError for a size that is not two positive integers
 * @throws ShapeError for a picture whose data does not fit its size, or a crop beyond 100 megapixels
 * @example
 * const square = centerCrop(picture, [224, 224]);
 */
export function centerCrop(picture: Picture, size: readonly [height: number, width: number]): Picture {
  checkPicture('centerCrop', picture);
  const [height, width] = checkSize('centerCrop', 'size', size);
  if (height === picture.height && width === picture.width) return picture;
  if (height * width > defaultMaxPixels) {
    throw new ShapeError(
      'crop-too-large',
      `centerCrop: expected at most ${defaultMaxPixels} pixels, got ${height}x${width}; choose a smaller size.`,
    );
  }
  const top = offset(picture.height, height);
  const left = offset(picture.width, width);
  const data = new Uint8Array(height * width * 3);
  const x = Math.max(0, left);
  const right = Math.min(picture.width, left + width);
  for (let y = Math.max(0, top); y < Math.min(picture.height, top + height); y++) {
    const row = picture.data.subarray((y * picture.width + x) * 3, (y * picture.width + right) * 3);
    data.set(row, ((y - top) * width + x - left) * 3);
  }
  return { width, height, data };
}
