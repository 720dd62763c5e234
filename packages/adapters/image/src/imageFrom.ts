import type { Image } from '@pvt/core';
import {
  checkMaxPixels,
  checkPixelCount,
  defaultMaxPixels,
  fromRgba,
  overWhite,
  ImageError,
} from './image.ts';

/** Side of what is read back at a time: a canvas beyond the browser's limit stays blank without a word. */
const tile = 2048;

/**
 * An image from whatever a browser can show: canvas, ImageData, ImageBitmap, `<img>`, `<video>` (the current frame),
 * VideoFrame, Blob or File. Colours become 8-bit sRGB, EXIF orientation is applied, transparency is composited over
 * white and of an animation the first frame is taken, as `readImage` does in Node. The source is neither changed nor closed.
 *
 * `maxPixels` (100 million) guards the work after decoding: a Blob is decoded by the browser, under the browser's own limits.
 *
 * @throws ImageError with code `image-unreadable`, `image-too-large`, `image-tainted` or `browser-missing`
 * @throws ConfigError where `maxPixels` is not a positive integer
 * @example
 * const image = await imageFrom(document.querySelector('canvas')!);
 */
export async function imageFrom(
  source: ImageBitmapSource,
  { maxPixels = defaultMaxPixels }: { readonly maxPixels?: number } = {},
): Promise<Image> {
  checkMaxPixels('imageFrom', maxPixels);
  if (typeof createImageBitmap === 'undefined' || typeof OffscreenCanvas === 'undefined') {
    throw new ImageError(
      'browser-missing',
      `imageFrom: expected a browser with createImageBitmap and OffscreenCanvas, got neither or one; in Node use readImage of '@pvt/adapter-image/node'.`,
    );
  }
  // ImageData is not premultiplied: read as it is, no canvas can round its colours.
  if (
    source instanceof ImageData &&
    source.colorSpace === 'srgb' &&
    source.data instanceof Uint8ClampedArray
  ) {
    checkPixelCount('imageFrom', source.width, source.height, maxPixels);
    return fromRgba(source.data, source.width, source.height);
  }
  const bitmap = await decode(source);
  try {
    checkPixelCount('imageFrom', bitmap.width, bitmap.height, maxPixels);
    return readBack(bitmap);
  } finally {
    bitmap.close();
  }
}

async function decode(source: ImageBitmapSource): Promise<ImageBitmap> {
  try {
    if (typeof HTMLImageElement !== 'undefined' && source instanceof HTMLImageElement) await source.decode();
    return await createImageBitmap(source);
  } catch (cause) {
    const kind = Object.prototype.toString.call(source).slice('[object '.length, -1);
    throw new ImageError(
      'image-unreadable',
      `imageFrom: expected a canvas, ImageData, ImageBitmap, image, video, VideoFrame or Blob with pixels in it, got ${kind} that the browser cannot decode; check that it has loaded and is an image.`,
      { cause },
    );
  }
}

function readBack(bitmap: ImageBitmap): Image {
  const { width, height } = bitmap;
  const columns = Math.min(tile, width);
  const rows = Math.min(tile, height);
  const context = new OffscreenCanvas(columns, rows).getContext('2d', { willReadFrequently: true });
  if (!context)
    throw new ImageError(
      'image-unreadable',
      `imageFrom: expected a 2d canvas of ${columns}x${rows} pixels, got none; close other pages or free memory.`,
    );
  context.globalCompositeOperation = 'copy';
  const data = new Uint8Array(width * height * 3);
  for (let top = 0; top < height; top += rows) {
    for (let left = 0; left < width; left += columns) {
      context.drawImage(bitmap, -left, -top);
      const rgba = readTile(context, columns, rows);
      const across = Math.min(columns, width - left);
      for (let y = 0; y < Math.min(rows, height - top); y++) {
        const at = ((top + y) * width + left) * 3;
        overWhite(rgba.subarray(y * columns * 4), data.subarray(at, at + across * 3));
      }
    }
  }
  return { width, height, data };
}

function readTile(
  context: OffscreenCanvasRenderingContext2D,
  width: number,
  height: number,
): Uint8ClampedArray {
  try {
    return context.getImageData(0, 0, width, height).data;
  } catch (cause) {
    if (!(cause instanceof DOMException && cause.name === 'SecurityError')) throw cause;
    throw new ImageError(
      'image-tainted',
      `imageFrom: expected pixels that this page may read, got some of another origin; load them with crossOrigin = 'anonymous' from a server that allows it.`,
      { cause },
    );
  }
}
