import type { TensorInfo } from '@tensorflow/tfjs-core';
import { ShapeError } from '@pvt/core';
import type { Heap } from './heap.ts';

/** A kernel over the heap. It checks all that it reads by: addresses know no bounds. */
export type Kernel = (
  heap: Heap,
  inputs: Readonly<Record<string, TensorInfo | undefined>>,
  attrs: Readonly<Record<string, unknown>>,
) => TensorInfo | TensorInfo[];

export const sizeOf = (shape: readonly number[]): number =>
  shape.reduce((product, side) => product * side, 1);

/** Asserts a float32 tensor of a shape, where negative sides may be anything. */
export function check(
  kernel: string,
  name: string,
  tensor: TensorInfo | undefined,
  shape: readonly number[],
): void {
  const fits =
    tensor !== undefined &&
    tensor.dtype === 'float32' &&
    tensor.shape.length === shape.length &&
    shape.every((side, axis) => side < 0 || tensor.shape[axis] === side);
  if (!fits)
    throw new ShapeError(
      'kernel-input-invalid',
      `${kernel}: expected ${name} to be float32 [${shape}], got ${tensor ? `${tensor.dtype} [${tensor.shape}]` : 'none'}; check the layer that calls it.`,
    );
}

export function checkNumber(kernel: string, name: string, value: unknown, least: number): number {
  if (!(typeof value === 'number' && Number.isInteger(value) && value >= least && value < 2 ** 31)) {
    throw new ShapeError(
      'kernel-input-invalid',
      `${kernel}: expected ${name} to be a whole number of at least ${least}, got ${String(value)}; check the layer that calls it.`,
    );
  }
  return value;
}

/** The sizes of a convolution, in the order in which the kernels take them. */
export function geometryOf(
  name: string,
  [, height, width, channels]: readonly number[],
  kernel: number,
  outputs: number,
  attrs: Readonly<Record<string, unknown>>,
) {
  const stride = checkNumber(name, 'stride', attrs['stride'], 1);
  const padding = checkNumber(name, 'padding', attrs['padding'], 0);
  const along = (side: number) => Math.max(0, Math.floor((side + 2 * padding - kernel) / stride) + 1);
  const [outHeight, outWidth] = [along(height!), along(width!)];
  const geometry = [
    height!,
    width!,
    channels!,
    kernel,
    stride,
    padding,
    outHeight,
    outWidth,
    outputs,
  ] as const;
  return { geometry, depth: kernel * kernel * channels!, outHeight, outWidth, stride, padding };
}
