import {
  ConfigError,
  resizeMethods,
  type Image,
  type InputSize,
  type Normalization,
  type Placement,
  type ResizeMethod,
  type Size,
} from '@pvt/core';
import { interpolateBilinear, resizeRounded } from './bilinear.ts';
import { checkImage } from './image.ts';
import { normalize as normalizeImage } from './normalize.ts';
import { resize as resizePillow } from './resize.ts';

export interface DenseInputOptions {
  /**
   * A fixed [height, width] that the image is letterboxed into, or bounds that the input's size follows from.
   */
  readonly size: Size | InputSize;
  /**
   * How the image is resized, always bilinearly and with its aspect ratio kept:
   * - `pillow`: antialiased, in 8 bits. What this library trains with.
   * - `opencv`: not antialiased, rounded to 8 bits. mmdetection and mmsegmentation.
   * - `torchvision`: not antialiased, not rounded, sides cut to integers. torchvision's detectors.
   */
  readonly resize: ResizeMethod;
  /** Per channel, after scaling to [0, 1]. */
  readonly normalize: Normalization;
  /**
   * How the image comes to fill the input: padded with zeros right and below, or stretched to it by a second
   * resize, as mmsegmentation's `AlignResize` does. Default: `pad`.
   */
  readonly align?: 'pad' | 'stretch';
}

/** One image as a segmenter or detector takes it. */
export interface DenseInput {
  /** Normalized [height, width, 3] values, row-major; padding is 0. */
  readonly values: Float32Array;
  /** [height, width] of the input, padding included. */
  readonly size: Size;
  readonly placement: Placement;
}

/**
 * The largest size with an image's aspect ratio that fits into `size`, times `factor`; sides are rounded.
 *
 * @example
 * letterboxSize([480, 640], [256, 256]); // [192, 256]
 */
export function letterboxSize([height, width]: Size, size: Size, factor = 1): Size {
  const scale = Math.min(size[0] / height, size[1] / width) * factor;
  return [Math.max(1, Math.round(height * scale)), Math.max(1, Math.round(width * scale))];
}

/**
 * The size with an image's aspect ratio whose shorter side is `shortSide`, unless its longer side would
 * exceed `longSide`. Sides are rounded as by mmcv's `rescale_size`, or cut as by torchvision's
 * `GeneralizedRCNNTransform`.
 *
 * @example
 * boundedSize([480, 640], { shortSide: 800, longSide: 1333, multiple: 32 }, 'opencv'); // [800, 1067]
 */
export function boundedSize(
  [height, width]: Size,
  { shortSide, longSide }: InputSize,
  resize: ResizeMethod,
): Size {
  const scale = Math.min(shortSide / Math.min(height, width), longSide / Math.max(height, width));
  const half = resize === 'torchvision' ? 0 : 0.5;
  const side = (value: number): number => Math.max(1, Math.floor(value * scale + half));
  return [side(height), side(width)];
}

/**
 * The input of a segmenter or detector for one image: resized, normalized and padded or stretched. Training,
 * evaluation and use all call this function, so that a model is fed the pixels that it was trained on.
 *
 * @throws ConfigError for an unknown resize method or a normalization that is not three numbers each
 * @throws ShapeError for an image whose data does not match its size
 * @example
 * const size = { shortSide: 240, longSide: 320, multiple: 32 };
 * const input = denseInput(image, { size, resize: 'pillow', normalize: imageNetNormalization });
 */
export function denseInput(
  image: Image,
  { size, resize, normalize, align = 'pad' }: DenseInputOptions,
): DenseInput {
  checkImage('denseInput', image);
  if (!resizeMethods.includes(resize))
    throw new ConfigError(
      'resize-invalid',
      `denseInput: expected resize to be one of ${resizeMethods.join(', ')}, got ${String(resize)}; ` +
        'name the library that the model was trained with.',
    );
  const originalSize: Size = [image.height, image.width];
  const resizedSize = isFixed(size)
    ? letterboxSize(originalSize, size)
    : boundedSize(originalSize, size, resize);
  const inputSize = isFixed(size) ? size : roundUpToMultiple(resizedSize, size.multiple);
  const contentSize = align === 'stretch' ? inputSize : resizedSize;
  const values = normalizedPixels[resize](image, resizedSize, contentSize, normalize);
  return {
    values: pad(values, contentSize, inputSize),
    size: inputSize,
    placement: { contentSize, originalSize },
  };
}

const isFixed = (size: Size | InputSize): size is Size => Array.isArray(size);

/** Both sides rounded up to the next multiple. */
const roundUpToMultiple = ([height, width]: Size, multiple: number): Size => [
  Math.ceil(height / multiple) * multiple,
  Math.ceil(width / multiple) * multiple,
];

/** Normalized values at `contentSize`, by way of `resizedSize`. */
type NormalizedPixels = (
  image: Image,
  resizedSize: Size,
  contentSize: Size,
  normalize: Normalization,
) => Float32Array;

const normalizedPixels: Record<ResizeMethod, NormalizedPixels> = {
  pillow(image, resizedSize, contentSize, normalize) {
    const resized = resizePillow(resizePillow(image, resizedSize, 'bilinear'), contentSize, 'bilinear');
    return normalizeImage(resized, { rescale: 1 / 255, normalize });
  },
  opencv(image, resizedSize, contentSize, normalize) {
    const resized = resizeRounded(resizeRounded(image, resizedSize), contentSize);
    return normalizeValues(Float32Array.from(resized.data), normalize);
  },
  torchvision: (image, _resizedSize, contentSize, normalize) =>
    normalizeValues(interpolateBilinear(image, contentSize), normalize),
};

/** Normalizes [height, width, 3] values from 0 to 255 in place. */
function normalizeValues(values: Float32Array, { mean, std }: Normalization): Float32Array {
  for (let i = 0; i < values.length; i++) values[i] = (values[i]! / 255 - mean[i % 3]!) / std[i % 3]!;
  return values;
}

/** Zeros right and below. */
function pad(values: Float32Array, from: Size, to: Size): Float32Array {
  if (from[0] === to[0] && from[1] === to[1]) return values;
  const padded = new Float32Array(to[0] * to[1] * 3);
  for (let y = 0; y < from[0]; y++)
    padded.set(values.subarray(y * from[1] * 3, (y + 1) * from[1] * 3), y * to[1] * 3);
  return padded;
}
