import { defaultMaxPixels } from '@pvt/adapter-image';
import { ignoredLabel, type LabelMap } from '@pvt/core';
import { decode, hasPngSignature } from 'fast-png';
import type { Mask, SourceReader } from './dataSet.ts';
import { DataError, reason } from './errors.ts';

/** The value of every pixel in a mask's file, not yet interpreted. */
export interface MaskValues {
  readonly width: number;
  readonly height: number;
  readonly values: Uint8Array | Uint16Array;
}

/**
 * A mask's values as its file stores them: gray levels, or the indices of a palette, whose colors do not
 * matter.
 *
 * @throws DataError `mask-broken` for a file that cannot be decoded, `mask-too-large`, or `mask-coloured` for
 * a file with more than one value per pixel
 */
export async function readMask<Source>(
  source: Source,
  name: string,
  reader: SourceReader<Source>,
): Promise<MaskValues> {
  const bytes = await reader.readBytes(source);
  // An image decoder would turn the indices of a palette into colors.
  if (bytes.length >= 8 && hasPngSignature(bytes.subarray(0, 8))) return pngValues(bytes, name);
  const image = await reader.readImage(source);
  return { width: image.width, height: image.height, values: grayLevels(image.data, 3, name) };
}

function pngValues(bytes: Uint8Array, name: string): MaskValues {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pixels = bytes.length >= 24 ? header.getUint32(16) * header.getUint32(20) : 0;
  if (pixels > defaultMaxPixels)
    throw new DataError(
      'mask-too-large',
      `readMask: expected at most ${defaultMaxPixels} pixels, got ${pixels} in ${name}; ` +
        'scale it down together with its image.',
    );
  try {
    const { width, height, data, channels, depth } = decode(bytes);
    if (depth < 8) return { width, height, values: unpack(data as Uint8Array, width, height, depth) };
    return { width, height, values: grayLevels(data as Uint8Array | Uint16Array, channels, name) };
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    throw new DataError(
      'mask-broken',
      `readMask: expected a whole PNG, got ${name}, which does not decode (${reason(cause)}); ` +
        'export it again.',
      { cause },
    );
  }
}

/** Values of less than a byte each; every row begins with a new byte. */
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

/** The first channel; red, green and blue have to be equal, and alpha is ignored. */
function grayLevels<A extends Uint8Array | Uint16Array>(data: A, channels: number, name: string): A {
  if (channels === 1) return data;
  const values = data.slice(0, data.length / channels) as A;
  for (let i = 0, at = 0; i < values.length; i++, at += channels) {
    values[i] = data[at]!;
    if (channels > 2 && (data[at] !== data[at + 1] || data[at] !== data[at + 2])) {
      throw new DataError(
        'mask-coloured',
        'readMask: expected gray levels or a palette, ' +
          `got the color ${data.subarray(at, at + 3).join(', ')} ` +
          `in ${name}; save each pixel's class index instead.`,
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
  reader: SourceReader<Source>,
): Promise<LabelMap> {
  const { width, height, values } = await readMask(mask, name, reader);
  const labels = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const valid = foreground ? value === 0 || value === 255 : value < classes || value === ignoredLabel;
    if (!valid) throw invalidValue(value, foreground, classes, name);
    labels[i] = foreground && value === 255 ? 1 : value;
  }
  return { width, height, labels };
}

function invalidValue(value: number, foreground: boolean, classes: number, name: string): DataError {
  const expected = foreground
    ? 'only 0 and 255, as in the other masks'
    : `classes below ${classes}, or ${ignoredLabel} to ignore`;
  return new DataError(
    'mask-value',
    `readMask: expected ${expected}, got ${value} in ${name}; correct the mask or the list of classes.`,
  );
}
