import { ShapeError } from '@pvt/core';
import type { Graph, OperationName, OperationOf, Value } from '@pvt/graph';
import type { BinaryKind, UnaryKind } from '../generated/calls.ts';
import type { KernelExports } from '../kernels/heap.ts';
import { sizeOf } from '../shape.ts';
import { shifted, type Address } from './address.ts';
import { ProgramBuilder, type Program } from './program.ts';

/** Writes an operation of a graph as calls. */
type Lowering<Name extends OperationName> = (operation: OperationOf<Name>, program: ProgramBuilder) => void;

const refusal = (operation: string, expected: string, got: unknown): ShapeError =>
  new ShapeError(
    'kernel-input-invalid',
    `createRunner: expected ${operation} with ${expected}, got ${String(got)}; ` +
      'compute it outside of the forward.',
  );

/**
 * After how many values the smaller of two shapes repeats while it is broadcast to the larger one; undefined
 * if its values do not repeat as a whole.
 */
function periodOf(large: readonly number[], small: readonly number[]): number | undefined {
  const firstSide = small.findIndex((side) => side !== 1);
  const sides = firstSide < 0 ? [] : small.slice(firstSide);
  const tail = large.slice(large.length - sides.length);
  const repeats = sides.length <= large.length && sides.every((side, i) => side === tail[i]);
  return repeats ? sizeOf(sides) : undefined;
}

const binary =
  (kind: BinaryKind, swappedKind: BinaryKind): Lowering<'Add' | 'Multiply' | 'Sub'> =>
  ({ name, inputs: { a, b }, outputs: [out] }, program) => {
    const [sizeA, sizeB] = [sizeOf(a.shape), sizeOf(b.shape)];
    const swap = sizeA < sizeB || (sizeA === sizeB && a.shape.length < b.shape.length);
    const [large, small] = swap ? [b, a] : [a, b];
    const period = periodOf(large.shape, small.shape);
    if (period === undefined)
      throw refusal(name, 'shapes of which one repeats over the other', `[${a.shape}] and [${b.shape}]`);
    const target = program.allocate(out!);
    if (sizeOf(large.shape) === 0) return;
    program.call({
      operation: 'binary',
      kind: swap ? swappedKind : kind,
      count: sizeOf(large.shape),
      period,
      a: program.address(large),
      b: program.address(small),
      out: target,
    });
  };

const unary =
  (kind: UnaryKind): Lowering<'Relu' | 'Rsqrt' | 'Sigmoid' | 'Square' | 'Tanh'> =>
  ({ inputs: { x }, outputs: [out] }, program) => {
    const target = program.allocate(out!);
    const count = sizeOf(x.shape);
    if (count > 0) program.call({ operation: 'unary', kind, count, x: program.address(x), out: target });
  };

/** A run of entries along an axis of a tensor. */
interface AxisRange {
  readonly shape: readonly number[];
  readonly address: Address;
  readonly start: number;
}

/** Copies `count` entries of an axis from one tensor to another. */
function copyAlongAxis(
  program: ProgramBuilder,
  source: AxisRange,
  target: AxisRange,
  axis: number,
  count: number,
): void {
  const entryBytes = 4 * sizeOf(source.shape.slice(axis + 1));
  const blocks = sizeOf(source.shape.slice(0, axis));
  if (blocks * count * entryBytes === 0) return;
  program.call({
    operation: 'copyBlocks',
    blocks,
    bytes: count * entryBytes,
    source: shifted(source.address, source.start * entryBytes),
    sourceStride: source.shape[axis]! * entryBytes,
    out: shifted(target.address, target.start * entryBytes),
    outStride: target.shape[axis]! * entryBytes,
  });
}

const slice: Lowering<'Slice'> = (
  { inputs: { x }, attributes: { begin, size }, outputs: [out] },
  program,
) => {
  const cutAxes = x.shape.flatMap((side, axis) => (size[axis] === side ? [] : [axis]));
  if (cutAxes.length > 1) throw refusal('Slice', 'a cut along one axis', `[${size}] of [${x.shape}]`);
  const axis = cutAxes[0] ?? 0;
  const source = { shape: x.shape, address: program.address(x), start: begin[axis] ?? 0 };
  const target = { shape: size, address: program.allocate(out!), start: 0 };
  copyAlongAxis(program, source, target, axis, size[axis] ?? 1);
};

const split: Lowering<'SplitV'> = (
  { inputs: { x }, attributes: { axis, numOrSizeSplits }, outputs },
  program,
) => {
  let start = 0;
  for (const [i, count] of numOrSizeSplits.entries()) {
    const { shape } = outputs[i]!;
    const source = { shape: x.shape, address: program.address(x), start };
    const target = { shape, address: program.allocate(outputs[i]!), start: 0 };
    copyAlongAxis(program, source, target, axis, count);
    start += count;
  }
};

const concat: Lowering<'Concat'> = ({ inputs, attributes: { axis }, outputs: [out] }, program) => {
  const address = program.allocate(out!);
  let start = 0;
  for (const part of inputs) {
    const source = { shape: part.shape, address: program.address(part), start: 0 };
    copyAlongAxis(program, source, { shape: out!.shape, address, start }, axis, part.shape[axis]!);
    start += part.shape[axis]!;
  }
};

const tile: Lowering<'Tile'> = ({ inputs: { x }, attributes: { reps }, outputs: [out] }, program) => {
  if (x.shape[0] !== 1 || reps.some((times, axis) => times !== 1 && axis > 0))
    throw refusal('Tile', 'copies of a batch of one', `${reps} times [${x.shape}]`);
  const target = program.allocate(out!);
  const bytes = 4 * sizeOf(x.shape);
  const blocks = reps[0]!;
  if (blocks * bytes === 0) return;
  program.call({
    operation: 'copyBlocks',
    blocks,
    bytes,
    source: program.address(x),
    sourceStride: 0,
    out: target,
    outStride: bytes,
  });
};

/** Reads x by its strides along four axes, and writes the output of four sides in order. */
function copyByStrides(
  program: ProgramBuilder,
  x: Value,
  out: Value,
  sides: readonly number[],
  strides: readonly number[],
): void {
  const target = program.allocate(out);
  if (sizeOf(out.shape) === 0) return;
  program.call({
    operation: 'transpose',
    rows: sides[0]! * sides[1]!,
    side1: sides[1]!,
    side2: sides[2]!,
    side3: sides[3]!,
    stride0: strides[0]!,
    stride1: strides[1]!,
    stride2: strides[2]!,
    stride3: strides[3]!,
    x: program.address(x),
    out: target,
  });
}

const transpose: Lowering<'Transpose'> = (
  { inputs: { x }, attributes: { perm }, outputs: [out] },
  program,
) => {
  const { shape } = x;
  if (shape.length > 4) throw refusal('Transpose', 'at most four axes', `[${shape}]`);
  const missing = 4 - shape.length;
  const sides = [...Array<number>(missing).fill(1), ...out!.shape];
  const strides = perm.map((axis) => sizeOf(shape.slice(axis + 1)));
  copyByStrides(program, x, out!, sides, [...Array<number>(missing).fill(0), ...strides]);
};

/** Only windows of one pixel, with which pyramids subsample maps. */
const maxPool: Lowering<'MaxPool'> = (
  { inputs: { x }, attributes: { filterSize, strides, pad }, outputs: [out] },
  program,
) => {
  if (filterSize.some((side) => side !== 1)) throw refusal('MaxPool', 'windows of one pixel', filterSize);
  if (pad.flat().some((pixels) => pixels !== 0)) throw refusal('MaxPool', 'no padding', pad);
  const [, height, width, channels] = x.shape as [number, number, number, number];
  const row = width * channels;
  copyByStrides(program, x, out!, out!.shape, [height * row, strides[0] * row, strides[1] * channels, 1]);
};

const softmax: Lowering<'Softmax'> = (
  { inputs: { logits }, attributes: { dim }, outputs: [out] },
  program,
) => {
  const { shape } = logits;
  if (dim !== shape.length - 1) throw refusal('Softmax', 'the last axis', dim);
  const target = program.allocate(out!);
  if (sizeOf(shape) === 0) return;
  const columns = shape[dim]!;
  program.call({
    operation: 'softmaxRows',
    rows: sizeOf(shape) / columns,
    columns,
    x: program.address(logits),
    out: target,
  });
};

const mean: Lowering<'Mean'> = ({ inputs: { x }, attributes: { axis: axes }, outputs: [out] }, program) => {
  if (axes.length !== 1) throw refusal('Mean', 'one axis', `[${axes}]`);
  const axis = axes[0]!;
  const target = program.allocate(out!);
  if (sizeOf(x.shape) === 0) return;
  const [rows, columns] = [x.shape[axis]!, sizeOf(x.shape.slice(axis + 1))];
  for (let i = 0; i < sizeOf(x.shape.slice(0, axis)); i++) {
    program.call({
      operation: 'mean',
      rows,
      columns,
      x: shifted(program.address(x), 4 * i * rows * columns),
      out: shifted(target, 4 * i * columns),
    });
  }
};

/** Products along leading axes; the second matrices are packed when they are there. */
const batchMatMul: Lowering<'BatchMatMul'> = (
  { name, inputs: { a, b }, attributes: { transposeA, transposeB }, outputs: [out] },
  program,
) => {
  if (transposeA) throw refusal(name, 'a first matrix that is not transposed', `[${a.shape}]`);
  const [rows, depth] = a.shape.slice(-2) as [number, number];
  const columns = out!.shape.at(-1)!;
  const [batchA, batchB] = [sizeOf(a.shape.slice(0, -2)), sizeOf(b.shape.slice(0, -2))];
  if (batchA !== batchB && batchA !== 1 && batchB !== 1)
    throw refusal(name, 'batches of which one repeats over the other', `[${a.shape}] and [${b.shape}]`);
  const batch = sizeOf(out!.shape.slice(0, -2));
  const target = depth === 0 ? program.allocateZeros(out!) : program.allocate(out!);
  if (batch * rows * columns * depth === 0) return;
  const panels = program.temporary(4 * Math.ceil(columns / 8) * 8 * depth);
  for (let i = 0; i < batch; i++) {
    if (i === 0 || batchB > 1)
      program.call({
        operation: 'pack',
        columns,
        depth,
        source: shifted(program.address(b), batchB === 1 ? 0 : 4 * i * depth * columns),
        columnStride: transposeB ? 4 * depth : 4,
        depthStride: transposeB ? 4 : 4 * columns,
        out: panels,
      });
    program.call({
      operation: 'multiply',
      rows,
      columns,
      depth,
      a: shifted(program.address(a), batchA === 1 ? 0 : 4 * i * rows * depth),
      panels,
      bias: undefined,
      residual: undefined,
      out: shifted(target, 4 * i * rows * columns),
      activation: 'none',
    });
  }
};

/** The panels of a weight, which must not depend on the input. */
function panelsOf(
  program: ProgramBuilder,
  name: string,
  weight: Value,
  inputs: number,
  outputs: number,
): Address {
  const panels = program.panelsOf(weight, inputs, outputs);
  if (panels === undefined)
    throw refusal(name, 'a weight that does not depend on the input', 'one that the forward computes');
  return panels;
}

const optionalAddress = (program: ProgramBuilder, value: Value | undefined): Address | undefined =>
  value && program.address(value);

function linear(
  { name, inputs, outputs: [out] }: OperationOf<'PvtLinear' | 'PvtLinearActivation'>,
  program: ProgramBuilder,
  residual: Value | undefined,
  activation: 'none' | 'relu' | 'gelu',
): void {
  const { x, weight, bias } = inputs;
  const [depth, columns] = weight.shape as [number, number];
  const rows = sizeOf(x.shape.slice(0, -1));
  const target = depth === 0 ? program.allocateZeros(out!) : program.allocate(out!);
  if (rows * columns * depth === 0) return;
  program.call({
    operation: 'multiply',
    rows,
    columns,
    depth,
    a: program.address(x),
    panels: panelsOf(program, name, weight, depth, columns),
    bias: optionalAddress(program, bias),
    residual: optionalAddress(program, residual),
    out: target,
    activation,
  });
}

const layerNorm: Lowering<'PvtLayerNorm'> = (
  { inputs: { x, weight, bias }, attributes: { eps }, outputs: [out] },
  program,
) => {
  const target = program.allocate(out!);
  const size = sizeOf(x.shape);
  const channels = x.shape.at(-1)!;
  if (size === 0) return;
  program.call({
    operation: 'layerNorm',
    rows: size / channels,
    channels,
    x: program.address(x),
    weight: program.address(weight),
    bias: program.address(bias),
    out: target,
    eps,
  });
};

const gelu: Lowering<'PvtGelu'> = ({ inputs: { x }, outputs: [out] }, program) => {
  const target = program.allocate(out!);
  program.call({ operation: 'gelu', count: sizeOf(x.shape), x: program.address(x), out: target });
};

const attention: Lowering<'PvtAttention'> = (
  { inputs: { query, keyValue }, attributes: { heads }, outputs: [out] },
  program,
) => {
  const [batch, tokens, channels] = query.shape as [number, number, number];
  const keys = keyValue.shape[1]!;
  const target = keys === 0 ? program.allocateZeros(out!) : program.allocate(out!);
  if (batch * tokens * channels * keys === 0) return;
  for (let image = 0; image < batch; image++) {
    const offset = 4 * image * channels;
    program.call({
      operation: 'attention',
      tokens,
      keys,
      heads,
      width: channels / heads,
      query: shifted(program.address(query), offset * tokens),
      keyValue: shifted(program.address(keyValue), 2 * offset * keys),
      out: shifted(target, offset * tokens),
    });
  }
};

const depthwise: Lowering<'PvtDepthwise'> = (
  { inputs: { x, filter, bias }, attributes: { activation }, outputs: [out] },
  program,
) => {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const target = program.allocate(out!);
  if (sizeOf(x.shape) === 0) return;
  for (let image = 0; image < batch; image++) {
    const offset = 4 * image * height * width * channels;
    program.call({
      operation: 'depthwise',
      height,
      width,
      channels,
      x: shifted(program.address(x), offset),
      filter: program.address(filter),
      bias: optionalAddress(program, bias),
      out: shifted(target, offset),
      activation,
    });
  }
};

const convolution: Lowering<'PvtConvolution'> = (
  { name, inputs: { x, filter, bias }, attributes: { stride, padding }, outputs: [out] },
  program,
) => {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const [, outHeight, outWidth, outputs] = out!.shape as [number, number, number, number];
  const kernel = filter.shape[0]!;
  const depth = kernel * kernel * channels;
  const target = depth === 0 ? program.allocateZeros(out!) : program.allocate(out!);
  if (sizeOf(out!.shape) * depth === 0) return;
  const panels = panelsOf(program, name, filter, depth, outputs);
  if (kernel === 1 && stride === 1 && padding === 0) {
    program.call({
      operation: 'multiply',
      rows: batch * height * width,
      columns: outputs,
      depth,
      a: program.address(x),
      panels,
      bias: optionalAddress(program, bias),
      residual: undefined,
      out: target,
      activation: 'none',
    });
    return;
  }
  for (let image = 0; image < batch; image++) {
    program.call({
      operation: 'convolution',
      height,
      width,
      channels,
      kernel,
      stride,
      padding,
      outHeight,
      outWidth,
      outputs,
      x: shifted(program.address(x), 4 * image * height * width * channels),
      panels,
      bias: optionalAddress(program, bias),
      out: shifted(target, 4 * image * outHeight * outWidth * outputs),
    });
  }
};

/** How each operation of a graph becomes calls. */
const lowerings: { readonly [Name in OperationName]: Lowering<Name> } = {
  Add: binary('add', 'add'),
  BatchMatMul: batchMatMul,
  Concat: concat,
  MaxPool: maxPool,
  Mean: mean,
  Multiply: binary('multiply', 'multiply'),
  Relu: unary('relu'),
  Reshape: ({ inputs: { x }, outputs: [out] }, program) => program.alias(out!, x),
  Rsqrt: unary('rsqrt'),
  Sigmoid: unary('sigmoid'),
  Slice: slice,
  Softmax: softmax,
  SplitV: split,
  Square: unary('square'),
  Sub: binary('subtract', 'subtractFrom'),
  Tanh: unary('tanh'),
  Tile: tile,
  Transpose: transpose,
  PvtAttention: attention,
  PvtConvolution: convolution,
  PvtDepthwise: depthwise,
  PvtGelu: gelu,
  PvtLayerNorm: layerNorm,
  PvtLinear: (operation, program) => linear(operation, program, operation.inputs.residual, 'none'),
  PvtLinearActivation: (operation, program) =>
    linear(operation, program, undefined, operation.attributes.activation),
};

function lowerOperation<Name extends OperationName>(
  operation: OperationOf<Name>,
  program: ProgramBuilder,
): void {
  lowerings[operation.name](operation, program);
}

/**
 * Writes a graph as calls of the module.
 *
 * @throws ShapeError for an operation with shapes or attributes that the module does not support
 */
export function lower(graph: Graph, sizes: KernelExports): Program {
  const program = new ProgramBuilder(sizes);
  for (const operation of graph.operations) lowerOperation(operation, program);
  const outputs = graph.outputs.map((value) => ({
    address: program.address(value),
    bytes: 4 * sizeOf(value.shape),
  }));
  return { blocks: program.blocks, calls: program.calls, outputs };
}
