import {
  denseInput,
  readImage,
  type DenseInput,
  type DenseInputOptions,
  type ImageSource,
} from '@pvt/adapter-image';
import {
  ConfigError,
  imageNetNormalization,
  isImage,
  type Image,
  type InputSize,
  type Normalization,
  type ResizeMethod,
} from '@pvt/core';
import type { Checkpoint } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Decoded pixels, or anything that `readImage` of `@pvt/adapter-image` reads: paths, URLs, bytes, Blobs,
 * canvases.
 */
export type ImageInput = Image | ImageSource;

export const openImage = async (image: ImageInput, signal?: AbortSignal): Promise<Image> =>
  isImage(image) ? image : readImage(image, signal && { signal });

/** How images become a dense model's input. */
export interface InputOptions {
  /** Sides in pixels. Default: as the checkpoint says, else as published models of the task. */
  readonly size?: Partial<InputSize>;
  /** Default: as the checkpoint says, else ImageNet's mean and standard deviation. */
  readonly normalize?: Normalization;
  /**
   * The library whose resize the model was trained with. Default: as the checkpoint says, else as its names
   * imply.
   */
  readonly resize?: ResizeMethod;
}

/**
 * The options that are given, else what the checkpoint says, else what `published` says.
 *
 * @throws ConfigError `size-invalid` for sides that are not positive whole pixels
 */
export function resolveInput(
  who: string,
  options: InputOptions,
  checkpoint: Checkpoint | undefined,
  published: { readonly size: InputSize; readonly resize: ResizeMethod },
): DenseInputOptions & { readonly size: InputSize } {
  const input = checkpoint?.header.input;
  return {
    size: checkSize(who, { ...published.size, ...input?.size, ...options.size }),
    normalize: options.normalize ?? input?.normalize ?? imageNetNormalization,
    resize: options.resize ?? input?.resize ?? published.resize,
  };
}

function checkSize(who: string, size: InputSize): InputSize {
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

/** The input that warms a model up: black, and small. */
export const blankInput = (input: DenseInputOptions): DenseInput =>
  denseInput({ width: 64, height: 64, data: new Uint8Array(64 * 64 * 3) }, { ...input, size: [64, 64] });
