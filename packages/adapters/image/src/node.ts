import { readFile } from 'node:fs/promises';
import type { Image } from '@pvt/core';
import {
  checkMaxPixels,
  checkImage,
  checkPixelCount,
  defaultMaxPixels,
  fromRgba,
  ImageError,
} from './image.ts';

/** `signal` stops the read between its steps and rejects with the signal's reason. */
export interface ReadImageOptions {
  /** Pixels that the image's header may claim; 100 million where absent. Checked before anything is decoded. */
  readonly maxPixels?: number;
  readonly signal?: AbortSignal;
}

async function loadSharp(who: string) {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    throw new ImageError(
      'sharp-missing',
      `${who}: expected the package sharp to be installed beside @pvt/adapter-image, got a failed import; run npm install sharp.`,
      { cause },
    );
  }
}

/**
 * An image from a file or its bytes, in any format that sharp knows (JPEG, PNG, WebP, AVIF, GIF, TIFF, SVG): the first
 * frame, turned upright by its EXIF orientation, as 8-bit sRGB with embedded profiles applied, transparency composited
 * over white.
 *
 * @throws ImageError with code `image-missing`, `image-is-directory`, `image-empty`, `image-unreadable` (the file
 * cannot be opened), `image-unknown-format`, `image-too-large`, `image-damaged` or `sharp-missing`
 * @throws ConfigError where `maxPixels` is not a positive integer
 * @example
 * const image = await readImage('cat.jpg');
 */
export async function readImage(
  source: string | URL | Uint8Array,
  { maxPixels = defaultMaxPixels, signal }: ReadImageOptions = {},
): Promise<Image> {
  checkMaxPixels('readImage', maxPixels);
  signal?.throwIfAborted();
  const name = source instanceof Uint8Array ? `${source.length} bytes` : String(source);
  const sharp = await loadSharp('readImage');
  const bytes = source instanceof Uint8Array ? source : await readBytes(source, signal);
  if (bytes.length === 0)
    throw new ImageError(
      'image-empty',
      `readImage: expected an image, got no bytes in ${name}; check what wrote it.`,
    );

  // The limit is checked here, on the header, and the message is ours; sharp's own limit would say less.
  const input = sharp(bytes, { autoOrient: true, failOn: 'error', limitInputPixels: false });
  const { width, height } = await input.metadata().catch((cause: unknown) => {
    throw new ImageError(
      'image-unknown-format',
      `readImage: expected a JPEG, PNG, WebP, AVIF, GIF, TIFF or SVG, got something else in ${name}; convert it first.`,
      { cause },
    );
  });
  checkPixelCount('readImage', width, height, maxPixels);
  signal?.throwIfAborted();

  const { data, info } = await input
    .toColourspace('srgb')
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true })
    .catch((cause: unknown) => {
      throw new ImageError(
        'image-damaged',
        `readImage: expected a whole image of ${width}x${height} pixels, got ${name}, which is cut short or damaged; fetch it again.`,
        { cause },
      );
    });
  signal?.throwIfAborted();
  return fromRgba(data, info.width, info.height);
}

async function readBytes(path: string | URL, signal: AbortSignal | undefined): Promise<Uint8Array> {
  try {
    return await readFile(path, { signal });
  } catch (cause) {
    signal?.throwIfAborted();
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'ENOENT')
      throw new ImageError(
        'image-missing',
        `readImage: expected a file at ${path}, got nothing there; check the path.`,
        { cause },
      );
    if (code === 'EISDIR')
      throw new ImageError(
        'image-is-directory',
        `readImage: expected a file at ${path}, got a directory; name an image in it.`,
        { cause },
      );
    throw new ImageError(
      'image-unreadable',
      `readImage: expected to read ${path}, got ${code ?? cause}; check its permissions and size.`,
      { cause },
    );
  }
}

/**
 * An image as the bytes of a PNG file, lossless.
 *
 * @throws ImageError with code `sharp-missing`
 * @throws ShapeError for an image whose data does not fit its size
 * @example
 * await writeFile('crop.png', await encodePng(centerCrop(image, [224, 224])));
 */
export async function encodePng(image: Image): Promise<Uint8Array> {
  checkImage('encodePng', image);
  const sharp = await loadSharp('encodePng');
  const { data, width, height } = image;
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}
