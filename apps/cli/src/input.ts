import { readImage } from '@pvt/adapter-image/node';
import type { Image } from '@pvt/core';
import { parseSafetensors, toFloat32 } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import { WorkError } from './errors.ts';
import { readBytes } from './files.ts';

/** An image, or prepared images [N, height, width, channels] that go into the model as they are. */
export type Input = Image | tf.Tensor4D;

export const isTensorFile = (path: string): boolean => path.toLowerCase().endsWith('.safetensors');

/**
 * The image in a file, or the tensor `input` of a safetensors file, which is the caller's to dispose of.
 *
 * @throws ImageError, CheckpointError or WorkError if the file cannot be read or is something else
 */
export const readInput = (path: string, channels: number): Promise<Input> =>
  isTensorFile(path) ? readTensor(path, channels) : readImage(path);

/** Frees an input that is a tensor. */
export function disposeInput(input: Input): void {
  if (input instanceof tf.Tensor) input.dispose();
}

async function readTensor(path: string, channels: number): Promise<tf.Tensor4D> {
  const { tensors } = parseSafetensors(await readBytes(path, 'an input'));
  const fail = (got: string): never => {
    throw new WorkError(
      `${path}: expected a tensor called input, F32 (N, ${channels}, H, W), already normalized, ` +
        `got ${got}; write the file again.`,
    );
  };
  const entry = tensors.get('input');
  if (entry === undefined) return fail(listed([...tensors.keys()]));
  const { dtype, shape } = entry;
  if (dtype !== 'F32' || shape.length !== 4 || shape[1] !== channels || shape.includes(0))
    return fail(`${dtype} (${shape.join(', ')})`);
  const values = toFloat32(entry);
  if (!values.every(Number.isFinite)) return fail('values that are not finite');
  return tf.tidy(() =>
    tf.transpose(tf.tensor4d(values, shape as [number, number, number, number]), [0, 2, 3, 1]),
  );
}

function listed(names: readonly string[]): string {
  if (names.length === 0) return 'no tensors';
  return `${names.slice(0, 3).join(', ')}${names.length > 3 ? ' and others' : ''}`;
}
