import { callFields, type Call, type DepthwiseCall } from '../generated/calls.ts';
import type { KernelExports } from '../kernels/heap.ts';
import { shifted, type Address } from './address.ts';
import { Allocator } from './allocator.ts';
import type { Program } from './program.ts';

/** The blocks that a call reads. */
function inputsOf(call: Call): number[] {
  const values: Readonly<Record<string, Address | number | string | undefined>> = call;
  return Object.keys(callFields[call.operation]).flatMap((field) => {
    const value = values[field];
    return field !== 'out' && typeof value === 'object' ? [value.block] : [];
  });
}

const outputOf = (call: Call): number => call.out.block;

/** The calls of a program in order, and the memory that its blocks take. */
export interface MemoryPlan {
  /** Runs once: calls that depend on weights and constants alone. */
  readonly setup: readonly Call[];
  /** Runs for every input. */
  readonly calls: readonly Call[];
  /** Blocks that stay between runs: weights, constants, and results of {@link setup}. */
  readonly resident: ReadonlySet<number>;
  /** Offsets of all other blocks in the arena, whose contents need not outlast a run. */
  readonly offsets: ReadonlyMap<number, number>;
  readonly arenaBytes: number;
  /** Bytes that each thread needs for intermediate results of a call. */
  readonly scratchBytes: number;
}

/** Bytes that a thread needs for intermediate results of a call. */
function scratchOf(call: Call, sizes: KernelExports): number {
  switch (call.operation) {
    case 'multiply':
      return sizes.multiplyScratch();
    case 'attention':
      return sizes.attentionScratch(call.keys, call.width);
    case 'depthwise':
      return sizes.depthwiseScratch(call.width);
    case 'depthwiseMultiply': {
      const { width, channels } = call;
      const band = 4 * sizes.bandRows(width, channels) * width * channels;
      return band + Math.max(sizes.depthwiseScratch(width), sizes.multiplyScratch());
    }
    case 'convolution':
      return sizes.convolutionScratch(call.kernel * call.kernel * call.channels);
    case 'softmaxRows':
      return 4 * call.columns + 16;
    default:
      return 0;
  }
}

const isDepthwise = (call: Call | undefined): call is DepthwiseCall => call?.operation === 'depthwise';

/**
 * Fuses depthwise convolutions with the product that alone reads their map, the largest of a block of the
 * model, so that the map never exists as a whole.
 */
function fuseDepthwiseProducts(calls: readonly Call[], outputs: ReadonlySet<number>): Call[] {
  const readers = new Map<number, number>();
  for (const block of calls.flatMap(inputsOf)) readers.set(block, (readers.get(block) ?? 0) + 1);
  const fused: Call[] = [];
  for (let i = 0; i < calls.length; i++) {
    const first = calls[i]!;
    const pair = isDepthwise(first) && readers.get(outputOf(first)) === 1 && !outputs.has(outputOf(first));
    const joined = pair ? fuseProduct(calls, i) : [];
    if (joined.length === 0) fused.push(first);
    else {
      fused.push(...joined);
      i += joined.length;
    }
  }
  return fused;
}

/**
 * The depthwise convolutions from an index on, one for each image, fused with the product after them, if that
 * fits.
 */
function fuseProduct(calls: readonly Call[], start: number): Call[] {
  const convolutions: DepthwiseCall[] = [];
  for (let i = start; ; i++) {
    const call = calls[i];
    if (!isDepthwise(call) || (i > start && outputOf(call) !== outputOf(convolutions[0]!))) break;
    convolutions.push(call);
  }
  const first = convolutions[0]!;
  const product = calls[start + convolutions.length];
  const isFusable =
    product?.operation === 'multiply' &&
    product.activation === 'none' &&
    product.depth === first.channels &&
    product.a.block === first.out.block &&
    product.a.offset === first.out.offset;
  if (!isFusable) return [];
  const { columns, panels, bias, residual, out } = product;
  return convolutions.map(({ height, width, channels, x, filter, bias: filterBias, activation }, image) => {
    const offset = 4 * image * height * width * columns;
    return {
      operation: 'depthwiseMultiply',
      height,
      width,
      channels,
      x,
      filter,
      filterBias,
      activation,
      columns,
      panels,
      bias,
      residual: residual && shifted(residual, offset),
      out: shifted(out, offset),
    };
  });
}

/**
 * Splits a program into what runs once and what runs for every input, and places blocks that are not needed
 * at the same time in the same memory.
 */
export function planMemory({ blocks, calls: lowered, outputs }: Program, sizes: KernelExports): MemoryPlan {
  const outputBlocks = new Set(outputs.map(({ address }) => address.block));
  const all = fuseDepthwiseProducts(lowered, outputBlocks);
  const dependent = new Set(blocks.flatMap(({ source }, i) => (source?.kind === 'input' ? [i] : [])));
  for (const call of all)
    if (inputsOf(call).some((block) => dependent.has(block))) dependent.add(outputOf(call));
  const setup = all.filter((call) => !dependent.has(outputOf(call)));
  const calls = all.filter((call) => dependent.has(outputOf(call)));
  const used = new Set([...all.flatMap((call) => [...inputsOf(call), outputOf(call)]), ...outputBlocks]);
  const inputBlocks = [...used].filter((block) => blocks[block]!.source?.kind === 'input');
  const { offsets, bytes } = allocateArena(
    calls,
    inputBlocks,
    new Set([...outputBlocks].filter((block) => dependent.has(block))),
    (block) => (dependent.has(block) ? blocks[block]!.bytes : undefined),
  );
  return {
    setup,
    calls,
    resident: new Set([...used].filter((block) => !dependent.has(block))),
    offsets,
    arenaBytes: bytes,
    scratchBytes: all.reduce((most, call) => Math.max(most, scratchOf(call, sizes)), 0),
  };
}

/**
 * Allocates blocks in the arena, each from the call that writes it to the last one that uses it.
 *
 * @param inputs written before the first call
 * @param outputs read after the last call
 * @param bytesOf a block, or undefined for one that does not belong in the arena
 */
function allocateArena(
  calls: readonly Call[],
  inputs: readonly number[],
  outputs: ReadonlySet<number>,
  bytesOf: (block: number) => number | undefined,
): { readonly offsets: ReadonlyMap<number, number>; readonly bytes: number } {
  const lastUse = new Map<number, number>();
  for (const [i, call] of calls.entries())
    for (const block of [...inputsOf(call), outputOf(call)]) lastUse.set(block, i);
  const arena = new Allocator();
  const offsets = new Map<number, number>();
  const allocate = (block: number): void => {
    const bytes = bytesOf(block);
    if (bytes !== undefined && !offsets.has(block)) offsets.set(block, arena.allocate(bytes));
  };
  inputs.forEach(allocate);
  for (const [i, call] of calls.entries()) {
    allocate(outputOf(call));
    for (const block of new Set([...inputsOf(call), outputOf(call)])) {
      const finished = offsets.has(block) && lastUse.get(block) === i && !outputs.has(block);
      if (finished) arena.free(offsets.get(block)!);
    }
  }
  outputs.forEach(allocate);
  return { offsets, bytes: arena.peak };
}
