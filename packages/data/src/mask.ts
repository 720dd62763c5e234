import { type LabelMap, ignoredLabel } from '@pvt/core';
import { defaultMaxPixels } from '@pvt/adapter-image';
import { decode, hasPngSignature } from 'fast-png';
import { type Mask, type Opener } from './dataSet.ts';
import { DataError, reason } from './errors.ts';

/** What a mask's file says of every pixel, before it means anything. */
export interface MaskValues {
  readonly width: number;
  readonly height: number;
  readonly values: Uint8Array | Uint16Array;
}

/**
 * A mask's values as its file has them: grey levels, or the indices of a palette, whose colours then do not matter.
 *
 * @throws DataError `mask-broken` for a file that cannot be decoded, `mask-coloured` for one with more than one value per pixel
 */
export async function readMask<Source>(
  source: Source,
  name: string,
  opener: Opener<Source>,
): Promise<MaskValues> {
  const bytes = await opener.bytes(source);
  // A decoder of images would turn a palette's indices into colours.
  if (bytes.length >= 8 && hasPngSignature(bytes.subarray(0, 8))) return pngValues(bytes, name);
  const image = await opener.image(source);
  return { width: image.width, height: image.height, values: grey(image.data, 3, name) };
}

function pngValues(bytes: Uint8Array, name: string): MaskValues {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pixels = bytes.length >= 24 ? header.getUint32(16) * header.getUint32(20) : 0;
  if (pixels > defaultMaxPixels)
    throw new DataError(
      'mask-too-large',
      `readMask: expected at most ${defaultMaxPixels} pixels, got ${pixels} in ${name}; scale it down with its image.`,
    );
  try {
    const { width, height, data, channels, depth } = decode(bytes);
    if (depth < 8) return { width, height, values: unpack(data as Uint8Array, width, height, depth) };
    return { width, height, values: grey(data as Uint8Array | Uint16Array, channels, name) };
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    throw new DataError(
      'mask-broken',
      `readMask: expected a whole PNG, got ${name}, which does not decode (${reason(cause)}); export it again.`,
      { cause },
    );
  }
}

/** Several pixels per byte, every row from a byte of its own on. */
function unpack(data: Uint8Array, width: number, height: number, depth: number): Uint8Array {
  const stride = Math.ceil((width * depth) / 8);
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      values[y * width + x] =
        (data[y * stride + (bit >> 3)]! >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
    }
  }
  return values;
}

/** The first channel; of three colours all have to be equal, and alpha does not count. */
function grey<A extends Uint8Array | Uint16Array>(data: A, channels: number, name: string): A {
  if (channels === 1) return data;
  const values = data.slice(0, data.length / channels) as A;
  for (let i = 0, at = 0; i < values.length; i++, at += channels) {
    values[i] = data[at]!;
    if (channels > 2 && (data[at] !== data[at + 1] || data[at] !== data[at + 2])) {
      throw new DataError(
        'mask-coloured',
        `readMask: expected grey levels or a palette, got the colour ${data.subarray(at, at + 3).join(', ')} in ${name}; save each pixel's class index instead.`,
      );
    }
  }
  return values;
}

/**
 * The label map in a mask's file.
 *
 * @throws DataError `mask-value` for a value that is no class, and what {@link readMask} throws
 */
export async function readLabels<Source>(
  { mask, foreground }: Mask<Source>,
  classes: number,
  name: string,
  opener: Opener<Source>,
): Promise<LabelMap> {
  const { width, height, values } = await readMask(mask, name, opener);
  const labels = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const valid = foreground ? value === 0 || value === 255 : value < classes || value === ignoredLabel;
    if (!valid)
      throw new DataError(
        'mask-value',
        `readMask: expected ${foreground ? '0 and 255 alone, as in the masks beside it' : `classes below ${classes}, or ${ignoredLabel} to ignore`}, got ${value} in ${name}; correct the mask or the list of classes.`,
      );
    labels[i] = foreground && value === 255 ? 1 : value;
  }
  return { width, height, labels };
}
