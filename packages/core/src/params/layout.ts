import { sizeOf, type Layout } from './spec.ts';

/**
 * The border between files and memory: which axis of the checkpoint (PyTorch) becomes each axis of the tensor (tfjs).
 * Linear weights become (in, out), so that a product needs no transposition; kernels become (height, width, in, out).
 */
const permutations: Record<Layout, readonly number[] | undefined> = {
  plain: undefined,
  linear: [1, 0],
  convolution: [2, 3, 1, 0],
  depthwise: [2, 3, 0, 1],
};

/** Values with their shape. */
export interface Values {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

function permute({ shape, values }: Values, axes: readonly number[]): Values {
  const permuted = axes.map((axis) => shape[axis]!);
  const strides = axes.map((axis) => sizeOf(shape.slice(axis + 1)));
  const result = new Float32Array(values.length);
  const last = axes.length - 1;
  const inner = permuted[last]!;
  const step = strides[last]!;
  const index = new Array<number>(last).fill(0);
  for (let start = 0, from = 0; start < result.length; start += inner) {
    for (let i = 0, at = from; i < inner; i++, at += step) result[start + i] = values[at]!;
    for (let axis = last - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < permuted[axis]!) break;
      from -= strides[axis]! * permuted[axis]!;
      index[axis] = 0;
    }
  }
  return { shape: permuted, values: result };
}

/** From a checkpoint's layout to the tensor's. Borrows the values where nothing moves. */
export function toMemory(entry: Values, layout: Layout): Values {
  const axes = permutations[layout];
  return axes === undefined ? entry : permute(entry, axes);
}

/** From the tensor's layout to a checkpoint's: the inverse of {@link toMemory}. */
export function toCheckpoint(entry: Values, layout: Layout): Values {
  const axes = permutations[layout];
  return axes === undefined ? entry : permute(entry, axes.map((_, axis) => axes.indexOf(axis)));
}
