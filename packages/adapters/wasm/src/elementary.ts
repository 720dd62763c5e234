import type { TensorInfo } from '@tensorflow/tfjs-core';
import { ShapeError } from '@pvt/core';
import { check, sizeOf } from './check.ts';
import type { PlanHeap, PlanKernel } from './record.ts';

/*
 * tfjs's own kernels, as far as PVT's layers and heads use them between the fused ones. They are there for plans, which
 * run outside of tfjs.
 */

const refuse = (kernel: string, expected: string, got: unknown): never => {
  throw new ShapeError(
    'kernel-input-invalid',
    `${kernel}: expected ${expected}, got ${String(got)}; do this outside of what is recorded.`,
  );
};

const replaced = (shape: readonly number[], axis: number, side: number): number[] =>
  shape.map((old, i) => (i === axis ? side : old));

/** How many values of the smaller shape go by before they repeat over the larger, or undefined where they do not follow each other. */
function periodOf(large: readonly number[], small: readonly number[]): number | undefined {
  const sides = [...small];
  while (sides.length > 0 && sides[0] === 1) sides.shift();
  const tail = large.slice(large.length - sides.length);
  return sides.length <= large.length && sides.every((side, i) => side === tail[i])
    ? sizeOf(sides)
    : undefined;
}

const binary =
  (name: string, straight: number, swapped: number): PlanKernel =>
  (heap, { a, b }) => {
    for (const [side, tensor] of Object.entries({ a, b })) check(name, side, tensor, tensor?.shape ?? []);
    const swap =
      sizeOf(a!.shape) < sizeOf(b!.shape) ||
      (sizeOf(a!.shape) === sizeOf(b!.shape) && a!.shape.length < b!.shape.length);
    const [large, small] = swap ? [b!, a!] : [a!, b!];
    const period =
      periodOf(large.shape, small.shape) ??
      refuse(name, 'shapes of which one repeats over the other', `[${a!.shape}] and [${b!.shape}]`);
    const out = heap.output(large.shape);
    if (sizeOf(large.shape) > 0)
      heap.kernels.binary(
        swap ? swapped : straight,
        sizeOf(large.shape),
        period,
        heap.address(large),
        heap.address(small),
        heap.address(out),
      );
    return out;
  };

const unary =
  (name: string, kind: number): PlanKernel =>
  (heap, { x }) => {
    check(name, 'x', x, x?.shape ?? []);
    const out = heap.output(x!.shape);
    if (sizeOf(x!.shape) > 0) heap.kernels.unary(kind, sizeOf(x!.shape), heap.address(x!), heap.address(out));
    return out;
  };

/** Copies `side` entries of an axis of one tensor to another, from and to a place along it. */
function copyAxis(
  heap: PlanHeap,
  source: TensorInfo,
  from: number,
  target: TensorInfo,
  to: number,
  axis: number,
  side: number,
): void {
  const inner = 4 * sizeOf(source.shape.slice(axis + 1));
  const [step, toStep] = [source.shape[axis]! * inner, target.shape[axis]! * inner];
  const blocks = sizeOf(source.shape.slice(0, axis));
  if (blocks * side * inner > 0)
    heap.kernels.copyBlocks(
      blocks,
      side * inner,
      heap.address(source) + from * inner,
      step,
      heap.address(target) + to * inner,
      toStep,
    );
}

const slice: PlanKernel = (heap, { x }, attrs) => {
  check('Slice', 'x', x, x?.shape ?? []);
  const shape = x!.shape;
  const begin = [attrs['begin']].flat() as number[];
  const sizes = [attrs['size'] ?? []].flat() as number[];
  const size = shape.map((side, axis) =>
    (sizes[axis] ?? -1) < 0 ? side - (begin[axis] ?? 0) : sizes[axis]!,
  );
  const cut = shape.flatMap((side, axis) => (size[axis] === side ? [] : [axis]));
  if (cut.length > 1) refuse('Slice', 'a slice along one axis', `[${size}] of [${shape}]`);
  const out = heap.output(size);
  const axis = cut[0] ?? 0;
  copyAxis(heap, x!, begin[axis] ?? 0, out, 0, axis, size[axis] ?? 1);
  return out;
};

const split: PlanKernel = (heap, { x }, attrs) => {
  check('SplitV', 'x', x, x?.shape ?? []);
  const axis = ((attrs['axis'] as number) + x!.shape.length) % x!.shape.length;
  const given = attrs['numOrSizeSplits'] as number | number[];
  const sides = typeof given === 'number' ? Array<number>(given).fill(x!.shape[axis]! / given) : given;
  let from = 0;
  return sides.map((side) => {
    const out = heap.output(replaced(x!.shape, axis, side));
    copyAxis(heap, x!, from, out, 0, axis, side);
    from += side;
    return out;
  });
};

const concat: PlanKernel = (heap, inputs, attrs) => {
  const parts = Object.values(inputs) as TensorInfo[];
  for (const part of parts) check('Concat', 'each tensor', part, part.shape);
  const [first] = parts;
  const axis = ((attrs['axis'] as number) + first!.shape.length) % first!.shape.length;
  const out = heap.output(
    replaced(
      first!.shape,
      axis,
      parts.reduce((sum, { shape }) => sum + shape[axis]!, 0),
    ),
  );
  let to = 0;
  for (const part of parts) {
    copyAxis(heap, part, 0, out, to, axis, part.shape[axis]!);
    to += part.shape[axis]!;
  }
  return out;
};

const tile: PlanKernel = (heap, { x }, attrs) => {
  check('Tile', 'x', x, x?.shape ?? []);
  const reps = attrs['reps'] as number[];
  if (reps.some((times, axis) => times !== 1 && axis > 0) || x!.shape[0] !== 1)
    refuse('Tile', 'copies of a batch of one', `${reps} times [${x!.shape}]`);
  const out = heap.output(replaced(x!.shape, 0, reps[0]!));
  const bytes = 4 * sizeOf(x!.shape);
  if (bytes * reps[0]! > 0)
    heap.kernels.copyBlocks(reps[0]!, bytes, heap.address(x!), 0, heap.address(out), bytes);
  return out;
};

const transpose: PlanKernel = (heap, { x }, attrs) => {
  check('Transpose', 'x', x, x?.shape ?? []);
  const { shape } = x!;
  if (shape.length > 4) refuse('Transpose', 'at most four axes', `[${shape}]`);
  const perm = attrs['perm'] as number[];
  const out = heap.output(perm.map((axis) => shape[axis]!));
  const missing = Array<number>(4 - shape.length);
  const sides = [...missing.fill(1), ...out.shape];
  const strides = [...missing.fill(0), ...perm.map((axis) => sizeOf(shape.slice(axis + 1)))];
  if (sizeOf(shape) > 0)
    heap.kernels.transpose(
      sides[0]! * sides[1]!,
      ...sides.slice(1),
      ...strides,
      heap.address(x!),
      heap.address(out),
    );
  return out;
};

/** Only windows of one pixel, by which pyramids skip pixels. */
const maxPool: PlanKernel = (heap, { x }, attrs) => {
  check('MaxPool', 'x', x, [-1, -1, -1, -1]);
  if ([attrs['filterSize']].flat().some((size) => size !== 1))
    refuse('MaxPool', 'windows of one pixel', attrs['filterSize']);
  const stride = ([attrs['strides']].flat() as number[])[0]!;
  const [batch, height, width, channels] = x!.shape as [number, number, number, number];
  const shape = [batch, Math.ceil(height / stride), Math.ceil(width / stride), channels];
  const out = heap.output(shape);
  const strides = [height * width * channels, stride * width * channels, stride * channels, 1];
  if (sizeOf(shape) > 0)
    heap.kernels.transpose(
      shape[0]! * shape[1]!,
      ...shape.slice(1),
      ...strides,
      heap.address(x!),
      heap.address(out),
    );
  return out;
};

const softmax: PlanKernel = (heap, { logits }, attrs) => {
  check('Softmax', 'logits', logits, logits?.shape ?? []);
  const { shape } = logits!;
  const dim = attrs['dim'] as number;
  if (dim !== -1 && dim !== shape.length - 1) refuse('Softmax', 'the last axis', dim);
  const out = heap.output(shape);
  const columns = shape.at(-1)!;
  heap.scratch(4 * columns + 16);
  if (sizeOf(shape) > 0)
    heap.kernels.softmaxRows(sizeOf(shape) / columns, columns, heap.address(logits!), heap.address(out));
  return out;
};

const mean: PlanKernel = (heap, { x }, attrs) => {
  check('Mean', 'x', x, x?.shape ?? []);
  const { shape } = x!;
  const axes = [attrs['axis'] as number | number[]]
    .flat()
    .map((axis) => (axis + shape.length) % shape.length);
  if (axes.length !== 1) refuse('Mean', 'one axis', `[${axes}]`);
  const axis = axes[0]!;
  const out = heap.output(
    attrs['keepDims'] === true ? replaced(shape, axis, 1) : shape.filter((_, i) => i !== axis),
  );
  const [rows, columns] = [shape[axis]!, sizeOf(shape.slice(axis + 1))];
  const blocks = sizeOf(shape) === 0 ? 0 : sizeOf(shape.slice(0, axis));
  for (let i = 0; i < blocks; i++) {
    heap.kernels.mean(
      rows,
      columns,
      heap.address(x!) + 4 * i * rows * columns,
      heap.address(out) + 4 * i * columns,
    );
  }
  return out;
};

/** Products of matrices along leading axes; the second factors are laid out in panels as they come. */
const batchMatMul: PlanKernel = (heap, { a, b }, attrs) => {
  const name = 'BatchMatMul';
  check(name, 'a', a, a?.shape ?? []);
  check(name, 'b', b, b?.shape ?? []);
  if (attrs['transposeA'] === true) refuse(name, 'a first matrix as it is', 'a transposed one');
  const [rows, depth] = a!.shape.slice(-2) as [number, number];
  const turned = attrs['transposeB'] === true;
  const columns = b!.shape.at(turned ? -2 : -1)!;
  const [batchA, batchB] = [a!.shape, b!.shape].map((shape) => sizeOf(shape.slice(0, -2))) as [
    number,
    number,
  ];
  if (b!.shape.at(turned ? -1 : -2) !== depth || (batchA !== batchB && batchA !== 1 && batchB !== 1))
    refuse(name, 'factors that fit', `[${a!.shape}] and [${b!.shape}]`);
  const batch = batchA === 1 ? batchB : batchA;
  const leading = (batchA === batch ? a! : b!).shape.slice(0, -2);
  const out =
    depth === 0 ? heap.zeros([...leading, rows, columns]) : heap.output([...leading, rows, columns]);
  if (batch * rows * columns * depth === 0) return out;
  const panels = heap.output([Math.ceil(columns / 8) * 8 * depth]);
  for (let i = 0; i < batch; i++) {
    if (i === 0 || batchB > 1) {
      const [columnStride, depthStride] = turned ? [4 * depth, 4] : [4, 4 * columns];
      heap.kernels.pack(
        columns,
        depth,
        heap.address(b!) + (batchB === 1 ? 0 : 4 * i * depth * columns),
        columnStride,
        depthStride,
        heap.address(panels),
        1,
      );
    }
    const from = heap.address(a!) + (batchA === 1 ? 0 : 4 * i * rows * depth);
    heap.kernels.multiply(
      rows,
      columns,
      depth,
      from,
      heap.address(panels),
      0,
      0,
      heap.address(out) + 4 * i * rows * columns,
      0,
      heap.scratch(heap.kernels.multiplyScratch()),
    );
  }
  return out;
};

export const elementaryKernels: Readonly<Record<string, PlanKernel>> = {
  Add: binary('Add', 0, 0),
  BatchMatMul: batchMatMul,
  Concat: concat,
  MaxPool: maxPool,
  Mean: mean,
  Multiply: binary('Multiply', 2, 2),
  Relu: unary('Relu', 0),
  Rsqrt: unary('Rsqrt', 2),
  Sigmoid: unary('Sigmoid', 3),
  Slice: slice,
  Softmax: softmax,
  SplitV: split,
  Square: unary('Square', 1),
  Sub: binary('Sub', 1, 3),
  Tanh: unary('Tanh', 4),
  Tile: tile,
  Transpose: transpose,
};
