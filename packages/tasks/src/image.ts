import {
  ConfigError,
  type Image,
  type InputSize,
  type Size,
  type Placement,
  type Normalization,
} from '@pvt/core';
import * as tf from '@tensorflow/tfjs-core';

/** @throws ConfigError for sides that are no positive whole pixels */
export function checkSize(who: string, size: InputSize): InputSize {
  for (const [field, value] of Object.entries(size)) {
    if (!(Number.isSafeInteger(value) && value > 0))
      throw new ConfigError(
        'size-invalid',
        `${who}: expected size.${field} in positive whole pixels, got ${value}; correct it.`,
      );
  }
  return size;
}

/** The size that keeps the aspect ratio within the bounds: rounded as mmcv's `rescale_size`, or cut as torchvision's transform. */
export function boundedSize(
  [height, width]: Size,
  { shortSide, longSide }: InputSize,
  how: 'round' | 'cut',
): Size {
  const scale = Math.min(shortSide / Math.min(height, width), longSide / Math.max(height, width));
  const side = (value: number): number =>
    Math.max(1, how === 'round' ? Math.floor(value * scale + 0.5) : Math.floor(value * scale));
  return [side(height), side(width)];
}

/** Two pixels and the share of the second, for every target position. */
function neighbours(from: number, to: number) {
  return Array.from({ length: to }, (_, i) => {
    const position = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
    const first = Math.floor(position);
    return { first, second: Math.min(first + 1, from - 1), share: position - first };
  });
}

/**
 * Bilinear resize without antialiasing, as detection and segmentation code resizes (OpenCV, PyTorch).
 *
 * @returns [height, width, 3], 0 … 255, row-major
 */
export function resizeBilinear({ width, height, data }: Image, [toHeight, toWidth]: Size): Float32Array {
  const result = new Float32Array(toHeight * toWidth * 3);
  const columns = neighbours(width, toWidth);
  let at = 0;
  for (const { first, second, share } of neighbours(height, toHeight)) {
    const [upper, lower] = [first * width, second * width];
    for (const column of columns) {
      for (let c = 0; c < 3; c++) {
        const pixel = (row: number, x: number) => data[(row + x) * 3 + c]!;
        const above =
          pixel(upper, column.first) +
          column.share * (pixel(upper, column.second) - pixel(upper, column.first));
        const below =
          pixel(lower, column.first) +
          column.share * (pixel(lower, column.second) - pixel(lower, column.first));
        result[at++] = above + share * (below - above);
      }
    }
  }
  return result;
}

/** Values as OpenCV keeps them: 8 bits. */
export const rounded = (values: Float32Array, [height, width]: Size): Image => ({
  width,
  height,
  data: Uint8Array.from(values, Math.round),
});

/** An image in a model's input. */
export interface Prepared {
  /** [height, width, 3], row-major. */
  readonly values: Float32Array;
  /** [height, width] of the input, padding included. */
  readonly size: Size;
  readonly placement: Placement;
}

/** Normalises, and pads with zeros right and below. */
export function normalizeAndPad(
  values: Float32Array,
  contentSize: Size,
  size: Size,
  originalSize: Size,
  { mean, std }: Normalization,
): Prepared {
  const padded = new Float32Array(size[0] * size[1] * 3);
  for (let y = 0; y < contentSize[0]; y++) {
    for (let x = 0; x < contentSize[1] * 3; x++)
      padded[y * size[1] * 3 + x] = (values[y * contentSize[1] * 3 + x]! / 255 - mean[x % 3]!) / std[x % 3]!;
  }
  return { values: padded, size, placement: { contentSize, originalSize } };
}

/** Both sides up to the next multiple. */
export const roundUpToMultiple = ([height, width]: Size, multiple: number): Size => [
  Math.ceil(height / multiple) * multiple,
  Math.ceil(width / multiple) * multiple,
];

/** Inputs of one size as a batch [B, height, width, 3]. */
export function toBatch(inputs: readonly Prepared[]): tf.Tensor4D {
  const [height, width] = inputs[0]!.size;
  const values = new Float32Array(inputs.length * height * width * 3);
  inputs.forEach((input, i) => values.set(input.values, i * input.values.length));
  return tf.tensor4d(values, [inputs.length, height, width, 3]);
}
