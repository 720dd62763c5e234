import type { Image } from '@pvt/core';
import {
  checkMaxPixels,
  checkPixelCount,
  defaultMaxPixels,
  fromRgba,
  ImageError,
  overWhite,
  type ImageSource,
  type ReadImageOptions,
} from './image.ts';

/**
 * Side of the tiles that pixels are read back in: a canvas beyond the browser's limit silently stays blank.
 */
const tileSide = 2048;

/**
 * Reads an image as upright 8-bit sRGB: EXIF orientation and embedded color profiles are applied,
 * transparency is composited over white, and of an animation the first frame is taken. The source is neither
 * changed nor closed.
 *
 * In Node, files and bytes are decoded by sharp, in any format that it knows (JPEG, PNG, WebP, AVIF, GIF,
 * TIFF, SVG), and `maxPixels` is checked against the header before anything is decoded. A browser decodes by
 * itself, under its own limits; `maxPixels` then guards the work that follows.
 *
 * @throws ImageError with code `image-missing`, `image-unreadable` or `image-too-large`; in Node also
 * `image-is-directory`, `image-empty`, `image-unknown-format`, `image-damaged` or `sharp-missing`; in a
 * browser also `image-tainted` or `browser-missing`
 * @throws ConfigError if `maxPixels` is not a positive integer
 * @example
 * const image = await readImage('cat.jpg');
 */
export async function readImage(
  source: ImageSource,
  { maxPixels = defaultMaxPixels, signal }: ReadImageOptions = {},
): Promise<Image> {
  checkMaxPixels('readImage', maxPixels);
  signal?.throwIfAborted();
  if (typeof createImageBitmap === 'undefined' || typeof OffscreenCanvas === 'undefined') {
    throw new ImageError(
      'browser-missing',
      'readImage: expected a browser with createImageBitmap and OffscreenCanvas, got neither or only one; ' +
        "in Node, resolve '@pvt/adapter-image' with the condition node, " +
        "or import readImage of '@pvt/adapter-image/node'.",
    );
  }
  // ImageData is not premultiplied: read as it is, no canvas can round its colors.
  if (
    source instanceof ImageData &&
    source.colorSpace === 'srgb' &&
    source.data instanceof Uint8ClampedArray
  ) {
    checkPixelCount('readImage', source.width, source.height, maxPixels);
    return fromRgba(source.data, source.width, source.height);
  }
  const bitmap = await decode(await fetched(source, signal));
  try {
    signal?.throwIfAborted();
    checkPixelCount('readImage', bitmap.width, bitmap.height, maxPixels);
    return readBack(bitmap);
  } finally {
    bitmap.close();
  }
}

/** What `createImageBitmap` takes: URLs are fetched and bytes wrapped. */
async function fetched(source: ImageSource, signal: AbortSignal | undefined): Promise<ImageBitmapSource> {
  // A copy, because the DOM's types refuse bytes that may lie in shared memory.
  if (source instanceof Uint8Array) return new Blob([new Uint8Array(source)]);
  if (typeof source !== 'string' && !(source instanceof URL)) return source;
  const response = await fetch(source, signal && { signal }).catch((cause: unknown) => {
    signal?.throwIfAborted();
    throw new ImageError(
      'image-unreadable',
      `readImage: expected an answer from ${source}, got none; ` +
        'check the URL and whether its server allows this page.',
      { cause },
    );
  });
  if (!response.ok)
    throw new ImageError(
      'image-missing',
      `readImage: expected an image at ${source}, got status ${response.status}; check the URL.`,
    );
  return response.blob();
}

async function decode(source: ImageBitmapSource): Promise<ImageBitmap> {
  try {
    if (typeof HTMLImageElement !== 'undefined' && source instanceof HTMLImageElement) await source.decode();
    return await createImageBitmap(source);
  } catch (cause) {
    const kind = Object.prototype.toString.call(source).slice('[object '.length, -1);
    throw new ImageError(
      'image-unreadable',
      'readImage: expected a URL, bytes, canvas, ImageData, ImageBitmap, image, video, ' +
        'VideoFrame or Blob with pixels, ' +
        `got ${kind} that the browser cannot decode; check that it has loaded and is an image.`,
      { cause },
    );
  }
}

function readBack(bitmap: ImageBitmap): Image {
  const { width, height } = bitmap;
  const columns = Math.min(tileSide, width);
  const rows = Math.min(tileSide, height);
  const context = new OffscreenCanvas(columns, rows).getContext('2d', { willReadFrequently: true });
  if (!context)
    throw new ImageError(
      'image-unreadable',
      `readImage: expected a 2d canvas of ${columns}x${rows} pixels, got none; ` +
        'close other pages or free memory.',
    );
  context.globalCompositeOperation = 'copy';
  const data = new Uint8Array(width * height * 3);
  for (let top = 0; top < height; top += rows) {
    for (let left = 0; left < width; left += columns) {
      context.drawImage(bitmap, -left, -top);
      const rgba = readTile(context, columns, rows);
      const visible = Math.min(columns, width - left);
      for (let y = 0; y < Math.min(rows, height - top); y++) {
        const at = ((top + y) * width + left) * 3;
        overWhite(rgba.subarray(y * columns * 4), data.subarray(at, at + visible * 3));
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
      'readImage: expected pixels that this page may read, got some of another origin; ' +
        "load them with crossOrigin = 'anonymous' from a server that allows it.",
      { cause },
    );
  }
}
