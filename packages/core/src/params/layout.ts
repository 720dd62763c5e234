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

/**
 * Moves axes: written along the last one, four runs at a time, whose values lie side by side on the reading side. That is
 * three times as fast as one by one. No permutation here leaves the last axis where it is.
 */
function permute({ shape, values }: Values, axes: readonly number[], room?: Float32Array): Values {
  const permuted = axes.map((axis) => shape[axis]!);
  const result = room?.subarray(0, values.length) ?? new Float32Array(values.length);
  if (result.length === 0) return { shape: permuted, values: result };
  const strides = axes.map((axis) => sizeOf(shape.slice(axis + 1)));
  const steps = permuted.map((_, axis) => sizeOf(permuted.slice(axis + 1)));
  const last = axes.length - 1;
  const dense = axes.indexOf(last);
  const [inner, stride] = [permuted[last]!, strides[last]!];
  const [length, step] = [permuted[dense]!, steps[dense]!];
  const others = axes.map((_, axis) => axis).filter((axis) => axis !== last && axis !== dense);
  const index = others.map(() => 0);
  for (let from = 0, to = 0, axis = 0; axis >= 0; ) {
    let run = 0;
    for (; run + 4 <= length; run += 4) {
      let first = to + run * step;
      let [second, third, fourth] = [first + step, first + 2 * step, first + 3 * step];
      for (let i = 0, at = from + run; i < inner; i++, at += stride) {
        result[first++] = values[at]!;
        result[second++] = values[at + 1]!;
        result[third++] = values[at + 2]!;
        result[fourth++] = values[at + 3]!;
      }
    }
    for (; run < length; run++) {
      for (let i = 0, at = from + run, out = to + run * step; i < inner; i++, at += stride) result[out + i] = values[at]!;
    }
    for (axis = others.length - 1; axis >= 0; axis--) {
      const other = others[axis]!;
      from += strides[other]!;
      to += steps[other]!;
      if (++index[axis]! < permuted[other]!) break;
      from -= strides[other]! * permuted[other]!;
      to -= steps[other]! * permuted[other]!;
      index[axis] = 0;
    }
  }
  return { shape: permuted, values: result };
}

/** From a checkpoint's layout to the tensor's, into `room` where it is given. Borrows the values where nothing moves. */
export function toMemory(entry: Values, layout: Layout, room?: Float32Array): Values {
  const axes = permutations[layout];
  return axes === undefined ? entry : permute(entry, axes, room);
}

/** From the tensor's layout to a checkpoint's: the inverse of {@link toMemory}. */
export function toCheckpoint(entry: Values, layout: Layout): Values {
  const axes = permutations[layout];
  return axes === undefined ? entry : permute(entry, axes.map((_, axis) => axes.indexOf(axis)));
}
