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
  const [rows, columns] = [shape[0]!, places.length];
  let column = 0;
  // Four at a time, so that what one read brings into the cache is used while it is there.
  for (; column + 4 <= columns; column += 4) {
    let [first, second, third, fourth] = [places[column]!, places[column + 1]!, places[column + 2]!, places[column + 3]!];
    for (let row = 0, at = column; row < rows; row++, at += columns) {
      result[first++] = values[at]!;
      result[second++] = values[at + 1]!;
      result[third++] = values[at + 2]!;
      result[fourth++] = values[at + 3]!;
    }
  }
  for (; column < columns; column++) {
    for (let row = 0; row < rows; row++) result[places[column]! + row] = values[row * columns + column]!;
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
