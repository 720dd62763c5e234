import { ConfigError, type Image, type Preprocessing } from '@pvt/core';
import { checkImage } from './image.ts';

/** A table of the normalized values: entry 3 * value + channel. */
export function levels({
  rescale = 1,
  normalize = { mean: [0, 0, 0], std: [1, 1, 1] },
}: Pick<Preprocessing, 'rescale' | 'normalize'>): Float32Array {
  const fail = (field: string, expected: string, got: unknown) => {
    throw new ConfigError(
      'preprocessing-invalid',
      `normalize: expected ${field} to be ${expected}, got ${JSON.stringify(got)}; ` +
        'correct the preprocessing.',
    );
  };
  if (!Number.isFinite(rescale) || rescale <= 0) fail('rescale', 'a positive number, usually 1/255', rescale);
  const { mean, std } = normalize;
  if (!Array.isArray(mean) || mean.length !== 3 || !mean.every(Number.isFinite))
    fail('mean', 'three numbers', mean);
  if (
    !Array.isArray(std) ||
    std.length !== 3 ||
    !std.every((value) => Math.fround(value) > 0 && Number.isFinite(value))
  )
    fail('std', 'three positive numbers', std);

  // Each step rounds to float32, as torchvision and Hugging Face's processors do.
  const table = new Float32Array(256 * 3);
  for (let i = 0; i < table.length; i++) {
    const channel = i % 3;
    const scaled = Math.fround(((i - channel) / 3) * rescale);
    table[i] = Math.fround(scaled - Math.fround(mean[channel]!)) / Math.fround(std[channel]!);
  }
  return table;
}

export function applyLevels(data: Uint8Array, table: Float32Array, target: Float32Array): void {
  for (let i = 0; i < data.length; i += 3) {
    target[i] = table[data[i]! * 3]!;
    target[i + 1] = table[data[i + 1]! * 3 + 1]!;
    target[i + 2] = table[data[i + 2]! * 3 + 2]!;
  }
}

/**
 * The last two steps of a preprocessing, (value * rescale - mean) / std per channel in float32, as [height,
 * width, 3] values.
 *
 * @throws ConfigError for a rescale or std that is not positive, or a mean or std without three numbers
 * @throws ShapeError for an image whose data does not match its size
 * @example
 * const values = normalize(image, { rescale: 1 / 255, normalize: imageNetNormalization });
 */
export function normalize(
  image: Image,
  preprocessing: Pick<Preprocessing, 'rescale' | 'normalize'>,
): Float32Array {
  checkImage('normalize', image);
  const values = new Float32Array(image.data.length);
  applyLevels(image.data, levels(preprocessing), values);
  return values;
}
