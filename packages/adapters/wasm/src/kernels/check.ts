import type { TensorInfo } from '@tensorflow/tfjs-core';
import { ShapeError } from '@pvt/core';
import type { Heap } from './heap.ts';

/**
 * A kernel over the heap. It checks the shapes that it relies on, because memory is accessed without bounds
 * checks.
 */
export type Kernel = (
  heap: Heap,
  inputs: Readonly<Record<string, TensorInfo | undefined>>,
  attrs: Readonly<Record<string, unknown>>,
) => TensorInfo | TensorInfo[];

/**
 * Asserts that an input is a float32 tensor of a shape; -1 stands for any side.
 *
 * @throws ShapeError if it is not
 */
export function check(
  kernel: string,
  name: string,
  tensor: TensorInfo | undefined,
  shape: readonly number[],
): void {
  const matches =
    tensor !== undefined &&
    tensor.dtype === 'float32' &&
    tensor.shape.length === shape.length &&
    shape.every((side, axis) => side < 0 || tensor.shape[axis] === side);
  if (!matches)
    throw new ShapeError(
      'kernel-input-invalid',
      `${kernel}: expected ${name} to be float32 [${shape}], got ` +
        `${tensor ? `${tensor.dtype} [${tensor.shape}]` : 'none'}; check the layer that calls it.`,
    );
}

/**
 * Asserts that an attribute is an integer of at least `minimum`.
 *
 * @throws ShapeError if it is not
 */
export function checkInteger(kernel: string, name: string, value: unknown, minimum: number): number {
  if (!(typeof value === 'number' && Number.isInteger(value) && value >= minimum && value < 2 ** 31)) {
    throw new ShapeError(
      'kernel-input-invalid',
      `${kernel}: expected ${name} to be an integer of at least ${minimum}, got ${String(value)}; ` +
        'check the layer that calls it.',
    );
  }
  return value;
}

/** Sizes of a convolution; `geometry` has them in the order of the kernels' parameters. */
export function geometryOf(
  name: string,
  [, height, width, channels]: readonly number[],
  kernel: number,
  outputs: number,
  attrs: Readonly<Record<string, unknown>>,
) {
  const stride = checkInteger(name, 'stride', attrs['stride'], 1);
  const padding = checkInteger(name, 'padding', attrs['padding'], 0);
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
