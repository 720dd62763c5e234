import { sizeOf, type Layout } from './spec.ts';

/**
 * The border between files and memory: which axis of the checkpoint (PyTorch) becomes each axis of the tensor
 * (tfjs). Linear weights become (in, out), so that a product needs no transposition; kernels become (height,
 * width, in, out).
 */
const permutations: Record<Layout, readonly number[] | undefined> = {
  plain: undefined,
  linear: [1, 0],
  convolution: [2, 3, 1, 0],
  depthwise: [2, 3, 0, 1],
};

/** A tensor's shape and values, in plain memory. */
export interface TensorData {
  readonly shape: readonly number[];
  /** Row-major. */
  readonly values: Float32Array;
}

/**
 * In a checkpoint, a weight is a matrix with a row for each output; in memory, one with a column for each.
 * Returns the index in memory at which each of the checkpoint's columns begins, as a row.
 */
function rowStarts([outputs = 1, inputs = 1, ...kernel]: readonly number[]): Int32Array {
  const area = sizeOf(kernel);
  const starts = new Int32Array(inputs * area);
  for (let input = 0, column = 0; input < inputs; input++) {
    for (let pixel = 0; pixel < area; pixel++) starts[column++] = (pixel * inputs + input) * outputs;
  }
  return starts;
}

/**
 * From a checkpoint's layout to the tensor's. Values that do not move are borrowed.
 *
 * @param target array to write into, at least as long as the values. Default: a new one.
 */
export function toTensorLayout(data: TensorData, layout: Layout, target?: Float32Array): TensorData {
  const axes = permutations[layout];
  if (axes === undefined) return data;
  const { shape, values } = data;
  const result = target?.subarray(0, values.length) ?? new Float32Array(values.length);
  const starts = rowStarts(shape);
  const rows = shape[0]!;
  const columns = starts.length;
  let row = 0;
  // Eight rows at a time write half a cache line of the result at once. The inner loop is unrolled, since a
  // loop would cost more than the cache saves.
  for (; row + 8 <= rows; row += 8) {
    for (let column = 0; column < columns; column++) {
      const to = starts[column]! + row;
      let from = row * columns + column;
      result[to] = values[from]!;
      result[to + 1] = values[(from += columns)]!;
      result[to + 2] = values[(from += columns)]!;
      result[to + 3] = values[(from += columns)]!;
      result[to + 4] = values[(from += columns)]!;
      result[to + 5] = values[(from += columns)]!;
      result[to + 6] = values[(from += columns)]!;
      result[to + 7] = values[(from += columns)]!;
    }
  }
  for (; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      result[starts[column]! + row] = values[row * columns + column]!;
  }
  return { shape: axes.map((axis) => shape[axis]!), values: result };
}

/** From the tensor's layout to a checkpoint's: the inverse of {@link toTensorLayout}. */
export function toCheckpointLayout(data: TensorData, layout: Layout): TensorData {
  const axes = permutations[layout];
  if (axes === undefined) return data;
  const shape = axes.map((_, axis) => data.shape[axes.indexOf(axis)]!);
  const result = new Float32Array(data.values.length);
  const starts = rowStarts(shape);
  const columns = starts.length;
  for (let row = 0, i = 0; row < shape[0]!; row++) {
    for (let column = 0; column < columns; column++) result[i++] = data.values[starts[column]! + row]!;
  }
  return { shape, values: result };
}
