import { readFile } from 'node:fs/promises';
import type { Image } from '@pvt/core';
import {
  checkImage,
  checkMaxPixels,
  checkPixelCount,
  defaultMaxPixels,
  fromRgba,
  ImageError,
  type ImageSource,
  type ReadImageOptions,
} from './image.ts';

export * from './shared.ts';

async function loadSharp(who: string) {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    throw new ImageError(
      'sharp-missing',
      `${who}: expected the package sharp to be installed beside @pvt/adapter-image, got a failed import; ` +
        'run npm install sharp.',
      { cause },
    );
  }
}

/** Node's side of `readImage`, which `readImage.ts` documents for both platforms. */
export async function readImage(
  source: ImageSource,
  { maxPixels = defaultMaxPixels, signal }: ReadImageOptions = {},
): Promise<Image> {
  checkMaxPixels('readImage', maxPixels);
  signal?.throwIfAborted();
  const sharp = await loadSharp('readImage');
  const bytes = await readBytes(source, signal);
  const name = nameOf(source);
  if (bytes.length === 0)
    throw new ImageError(
      'image-empty',
      `readImage: expected an image, got no bytes in ${name}; check what wrote it.`,
    );

  // The limit is checked here, on the header, because sharp's own limit would not name the file and the
  // remedy.
  const input = sharp(bytes, { autoOrient: true, failOn: 'error', limitInputPixels: false });
  const { width, height } = await input.metadata().catch((cause: unknown) => {
    throw new ImageError(
      'image-unknown-format',
      `readImage: expected a JPEG, PNG, WebP, AVIF, GIF, TIFF or SVG, got something else in ${name}; ` +
        'convert it first.',
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
        `readImage: expected a whole image of ${width}x${height} pixels, got ${name}, ` +
          'which is truncated or damaged; fetch it again.',
        { cause },
      );
    });
  signal?.throwIfAborted();
  return fromRgba(data, info.width, info.height);
}

function nameOf(source: ImageSource): string {
  if (source instanceof Uint8Array) return `${source.length} bytes`;
  return source instanceof Blob ? `a Blob of ${source.size} bytes` : String(source);
}

async function readBytes(source: ImageSource, signal: AbortSignal | undefined): Promise<Uint8Array> {
  if (source instanceof Uint8Array) return source;
  if (source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
  if (typeof source === 'string' || source instanceof URL) return readFileBytes(source, signal);
  throw new ImageError(
    'image-unreadable',
    `readImage: expected a path, file URL, bytes or Blob, got ${nameOf(source)}; ` +
      'elements and canvases can be read in a browser only.',
  );
}

async function readFileBytes(path: string | URL, signal: AbortSignal | undefined): Promise<Uint8Array> {
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
 * @throws ShapeError for an image whose data does not match its size
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
