import { readFile } from 'node:fs/promises';
import type { Picture } from '@pvt/core';
import {
  checkMaxPixels,
  checkPicture,
  checkPixelCount,
  defaultMaxPixels,
  fromRgba,
  PictureError,
} from './picture.ts';

/** `signal` stops the read between its steps and rejects with the signal's reason. */
export interface ReadPictureOptions {
  /** Pixels that the picture's header may claim; 100 million where absent. Checked before anything is decoded. */
  readonly maxPixels?: number;
  readonly signal?: AbortSignal;
}

async function loadSharp(who: string) {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    throw new PictureError(
      'sharp-missing',
      `${who}: expected the package sharp to be installed beside @pvt/adapter-image, got a failed import; run npm install sharp.`,
      { cause },
    );
  }
}

/**
 * A picture from a file or its bytes, in any format that sharp knows (JPEG, PNG, WebP, AVIF, GIF, TIFF, SVG): the first
 * frame, turned upright by its EXIF orientation, as 8-bit sRGB with embedded profiles applied, transparency composited
 * over white.
 *
 * @throws PictureError with code `picture-missing`, `picture-is-directory`, `picture-empty`, `picture-unreadable` (the file
 * cannot be opened), `picture-unknown-format`, `picture-too-large`, `picture-damaged` or `sharp-missing`
 * @throws ConfigError where `maxPixels` is not a positive integer
 * @example
 * const picture = await readPicture('cat.jpg');
 */
export async function readPicture(
  source: string | URL | Uint8Array,
  { maxPixels = defaultMaxPixels, signal }: ReadPictureOptions = {},
): Promise<Picture> {
  checkMaxPixels('readPicture', maxPixels);
  signal?.throwIfAborted();
  const name = source instanceof Uint8Array ? `${source.length} bytes` : String(source);
  const sharp = await loadSharp('readPicture');
  const bytes = source instanceof Uint8Array ? source : await readBytes(source, signal);
  if (bytes.length === 0)
    throw new PictureError(
      'picture-empty',
      `readPicture: expected a picture, got no bytes in ${name}; check what wrote it.`,
    );

  // The limit is checked here, on the header, and the message is ours; sharp's own limit would say less.
  const input = sharp(bytes, { autoOrient: true, failOn: 'error', limitInputPixels: false });
  const { width, height } = await input.metadata().catch((cause: unknown) => {
    throw new PictureError(
      'picture-unknown-format',
      `readPicture: expected a JPEG, PNG, WebP, AVIF, GIF, TIFF or SVG, got something else in ${name}; convert it first.`,
      { cause },
    );
  });
  checkPixelCount('readPicture', width, height, maxPixels);
  signal?.throwIfAborted();

  const { data, info } = await input
    .toColourspace('srgb')
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true })
    .catch((cause: unknown) => {
      throw new PictureError(
        'picture-damaged',
        `readPicture: expected a whole picture of ${width}x${height} pixels, got ${name}, which is cut short or damaged; fetch it again.`,
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
      throw new PictureError(
        'picture-missing',
        `readPicture: expected a file at ${path}, got nothing there; check the path.`,
        { cause },
      );
    if (code === 'EISDIR')
      throw new PictureError(
        'picture-is-directory',
        `readPicture: expected a file at ${path}, got a directory; name a picture in it.`,
        { cause },
      );
    throw new PictureError(
      'picture-unreadable',
      `readPicture: expected to read ${path}, got ${code ?? cause}; check its permissions and size.`,
      { cause },
    );
  }
}

/**
 * A picture as the bytes of a PNG file, lossless.
 *
 * @throws PictureError with code `sharp-missing`
 * @throws ShapeError for a picture whose data does not fit its size
 * @example
 * await writeFile('crop.png', await encodePng(centerCrop(picture, [224, 224])));
 */
export async function encodePng(picture: Picture): Promise<Uint8Array> {
  checkPicture('encodePng', picture);
  const sharp = await loadSharp('encodePng');
  const { data, width, height } = picture;
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}
