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
 * In a checkpoint, a weight is a matrix with a row for each output; in memory, one with a column for each. This is where each
 * column of the one begins as a row of the other.
 */
function placesOf([outputs = 1, inputs = 1, ...kernel]: readonly number[]): Int32Array {
  const area = sizeOf(kernel);
  const places = new Int32Array(inputs * area);
  for (let input = 0, column = 0; input < inputs; input++) {
    for (let pixel = 0; pixel < area; pixel++) places[column++] = (pixel * inputs + input) * outputs;
  }
  return places;
}

/** From a checkpoint's layout to the tensor's, into `room` where it is given. Borrows the values where nothing moves. */
export function toMemory(entry: Values, layout: Layout, room?: Float32Array): Values {
  const axes = permutations[layout];
  if (axes === undefined) return entry;
  const { shape, values } = entry;
  const result = room?.subarray(0, values.length) ?? new Float32Array(values.length);
  const places = placesOf(shape);
  const rows = shape[0]!;
  const columns = places.length;
  let row = 0;
  // Eight rows at a time, so that half a cache line of the result is written at once; an inner loop over them costs more than the cache saves.
  for (; row + 8 <= rows; row += 8) {
    for (let column = 0; column < columns; column++) {
      const to = places[column]! + row;
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
      result[places[column]! + row] = values[row * columns + column]!;
  }
  return { shape: axes.map((axis) => shape[axis]!), values: result };
}

/** From the tensor's layout to a checkpoint's: the inverse of {@link toMemory}. */
export function toCheckpoint(entry: Values, layout: Layout): Values {
  const axes = permutations[layout];
  if (axes === undefined) return entry;
  const shape = axes.map((_, axis) => entry.shape[axes.indexOf(axis)]!);
  const result = new Float32Array(entry.values.length);
  const places = placesOf(shape);
  const columns = places.length;
  for (let row = 0, at = 0; row < shape[0]!; row++) {
    for (let column = 0; column < columns; column++) result[at++] = entry.values[places[column]! + row]!;
  }
  return { shape, values: result };
}
