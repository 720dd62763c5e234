import { ConfigError, PvtError, ShapeError, type Image } from '@pvt/core';

/** A file, blob or element that no image can be read from; `code` says why. */
export class ImageError extends PvtError {}

/**
 * What an image can be read from: in Node a path, a file URL, a file's bytes or a Blob; in a browser a URL,
 * bytes, a Blob or File, or anything with pixels (canvas, ImageData, ImageBitmap, `<img>`, `<video>`,
 * VideoFrame).
 */
export type ImageSource = string | URL | Uint8Array | ImageBitmapSource;

export interface ReadImageOptions {
  /** Most pixels that an image may have. Default: 100 million. */
  readonly maxPixels?: number;
  /** Stops between the steps of reading and rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Most pixels of an image unless the caller sets another limit. */
export const defaultMaxPixels = 100_000_000;

export function checkMaxPixels(who: string, maxPixels: number): void {
  if (!Number.isSafeInteger(maxPixels) || maxPixels < 1) {
    throw new ConfigError(
      'option-invalid',
      `${who}: expected maxPixels to be a positive integer, got ${maxPixels}; ` +
        `omit it for ${defaultMaxPixels}.`,
    );
  }
}

export function checkPixelCount(who: string, width: number, height: number, maxPixels: number): void {
  if (width * height > maxPixels) {
    throw new ImageError(
      'image-too-large',
      `${who}: expected an image of at most ${maxPixels} pixels, got ${width}x${height}; ` +
        'shrink it, or raise maxPixels if you trust its origin.',
    );
  }
}

export function checkImage(who: string, { width, height, data }: Image): void {
  const sized = [width, height].every((side) => Number.isSafeInteger(side) && side > 0);
  if (!sized || !(data instanceof Uint8Array) || data.length !== width * height * 3) {
    const got = data instanceof Uint8Array ? `${data.length} bytes` : typeof data;
    throw new ShapeError(
      'image-invalid',
      `${who}: expected an image with width * height * 3 bytes of RGB, got ${got} for ${width}x${height}; ` +
        'drop alpha and padding, or build it with fromRgba.',
    );
  }
}

/** Composites RGBA (not premultiplied) over white into RGB. */
export function overWhite(rgba: ArrayLike<number>, rgb: Uint8Array): void {
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    const alpha = rgba[from + 3]!;
    const white = 255 * (255 - alpha) + 127;
    rgb[to] = (rgba[from]! * alpha + white) / 255;
    rgb[to + 1] = (rgba[from + 1]! * alpha + white) / 255;
    rgb[to + 2] = (rgba[from + 2]! * alpha + white) / 255;
  }
}

/**
 * An image from 8-bit RGBA pixels (row-major, not premultiplied), composited over white like every other
 * source.
 *
 * @throws ShapeError if `rgba` does not hold width * height * 4 bytes
 * @example
 * const image = fromRgba(new Uint8Array([255, 0, 0, 128]), 1, 1); // data: 255, 127, 127
 */
export function fromRgba(rgba: Uint8Array | Uint8ClampedArray, width: number, height: number): Image {
  if (rgba.length !== width * height * 4) {
    throw new ShapeError(
      'image-invalid',
      `fromRgba: expected width * height * 4 bytes, got ${rgba.length} for ${width}x${height}; ` +
        'pass RGBA without padding between rows.',
    );
  }
  const image = { width, height, data: new Uint8Array(width * height * 3) };
  checkImage('fromRgba', image);
  overWhite(rgba, image.data);
  return image;
}
