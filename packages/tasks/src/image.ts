import type { DenseInput } from '@pvt/adapter-image';
import { ConfigError, type InputSize } from '@pvt/core';
import * as tf from '@tensorflow/tfjs-core';

export type { DenseInput as Prepared } from '@pvt/adapter-image';

/** @throws ConfigError for sides that are not positive whole pixels */
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

/** Inputs of one size as a batch [B, height, width, 3]. */
export function toBatch(inputs: readonly DenseInput[]): tf.Tensor4D {
  const [height, width] = inputs[0]!.size;
  const values = new Float32Array(inputs.length * height * width * 3);
  inputs.forEach((input, i) => values.set(input.values, i * input.values.length));
  return tf.tensor4d(values, [inputs.length, height, width, 3]);
}

/** Black, for a model's first run. */
export const blankImage = { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3) };
