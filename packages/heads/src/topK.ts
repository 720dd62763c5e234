/** Restores a heap whose root alone is out of order. */
function siftDown(heap: number[], isBefore: (a: number, b: number) => boolean): void {
  for (let i = 0, child = 1; child < heap.length; i = child, child = 2 * i + 1) {
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
    if (!isBefore(heap[child]!, heap[i]!)) return;
    [heap[i], heap[child]] = [heap[child]!, heap[i]!];
  }
}

/** Adds a value to a heap. */
function push(heap: number[], value: number, isBefore: (a: number, b: number) => boolean): void {
  heap.push(value);
  for (let i = heap.length - 1; i > 0;) {
    const parent = (i - 1) >> 1;
    if (!isBefore(heap[i]!, heap[parent]!)) return;
    [heap[i], heap[parent]] = [heap[parent]!, heap[i]!];
    i = parent;
  }
}

/**
 * Indices of the `count` largest values above `threshold`, best first, equal ones in order. Each value that
 * is not among them costs one comparison.
 *
 * @example
 * topKIndices(Float32Array.of(0.1, 0.9, 0.5), 2, 0); // [1, 2]
 */
export function topKIndices(values: ArrayLike<number>, count: number, threshold = -Infinity): number[] {
  if (count < 1) return [];
  // A heap whose root would leave next: the smallest value, the latest of equal ones.
  const heap: number[] = [];
  const isWorse = (a: number, b: number): boolean =>
    values[a]! < values[b]! || (values[a] === values[b] && a > b);
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    if (!(value > threshold)) continue;
    if (heap.length < count) {
      push(heap, index, isWorse);
    } else if (value > values[heap[0]!]!) {
      heap[0] = index;
      siftDown(heap, isWorse);
    }
  }
  return heap.sort((a, b) => values[b]! - values[a]! || a - b);
}
