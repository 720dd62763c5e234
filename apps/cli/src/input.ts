import { preprocess } from '@pvt/adapter-image';
import { readImage } from '@pvt/adapter-image';
import type { PvtConfig, Preprocessing } from '@pvt/core';
import { parseSafetensors, toFloat32 } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import { WorkError } from './errors.ts';
import { readBytes } from './files.ts';

export interface Input {
  /** [N, H, W, channels], the caller's to dispose of. */
  readonly tensor: tf.Tensor4D;
  /** Height and width of the image before preparation; absent for a safetensors file. */
  readonly image?: readonly [height: number, width: number];
}

export const isTensorFile = (path: string): boolean => path.toLowerCase().endsWith('.safetensors');

/**
 * An image prepared by the recipe, or the `input` of a safetensors file as it is.
 *
 * @throws ImageError, CheckpointError or WorkError where the file cannot be read or is something else
 */
export async function readInput(
  path: string,
  config: PvtConfig,
  preprocessing: Preprocessing,
): Promise<Input> {
  if (isTensorFile(path)) return { tensor: await readTensor(path, config.channels) };
  const image = await readImage(path);
  return { tensor: preprocess(image, preprocessing), image: [image.height, image.width] };
}

/** The `input` of a safetensors file. @throws CheckpointError or WorkError where there is none */
export async function readTensor(path: string, channels: number): Promise<tf.Tensor4D> {
  const { tensors } = parseSafetensors(await readBytes(path, 'an input'));
  const entry = tensors.get('input');
  const expected = `a tensor called input, F32 (N, ${channels}, H, W), already normalised`;
  const fail = (got: string): never => {
    throw new WorkError(`${path}: expected ${expected}, got ${got}; write the file anew.`);
  };
  if (entry === undefined)
    return fail(
      tensors.size === 0
        ? 'no tensors'
        : `${[...tensors.keys()].slice(0, 3).join(', ')}${tensors.size > 3 ? ' and others' : ''}`,
    );
  const { dtype, shape } = entry;
  if (dtype !== 'F32' || shape.length !== 4 || shape[1] !== channels || shape.includes(0))
    return fail(`${dtype} (${shape.join(', ')})`);
  const values = toFloat32(entry);
  if (!values.every(Number.isFinite)) return fail('values that are not finite');
  return tf.tidy(() =>
    tf.transpose(tf.tensor4d(values, shape as [number, number, number, number]), [0, 2, 3, 1]),
  );
}
