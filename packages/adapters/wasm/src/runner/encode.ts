import {
  callFields,
  callWords,
  enums,
  headerWords,
  operations,
  type Call,
  type Operation,
  type WeightFormat,
} from '../generated/calls.ts';
import type { Address } from './address.ts';

/** How threads share the items of a call. */
interface Sharing {
  /** Shares are multiples of it, such as the rows of a register tile. */
  readonly multiple: number;
  /** Smaller shares are not worth their overhead. */
  readonly minimum: number;
}

const sharing: Record<Operation, Sharing> = {
  multiply: { multiple: 4, minimum: 16 },
  layerNorm: { multiple: 1, minimum: 16 },
  gelu: { multiple: 4, minimum: 4096 },
  attention: { multiple: 4, minimum: 16 },
  depthwise: { multiple: 1, minimum: 2 },
  depthwiseMultiply: { multiple: 1, minimum: 2 },
  convolution: { multiple: 4, minimum: 16 },
  pack: { multiple: 1, minimum: 16 },
  binary: { multiple: 4, minimum: 16384 },
  unary: { multiple: 4, minimum: 16384 },
  copyBlocks: { multiple: 1, minimum: 64 },
  mean: { multiple: 16, minimum: 256 },
  transpose: { multiple: 1, minimum: 64 },
  softmaxRows: { multiple: 1, minimum: 64 },
};

/** Items of a call, in the sense of assembly/run.ts. */
function itemsOf(call: Call): number {
  switch (call.operation) {
    case 'multiply':
    case 'layerNorm':
    case 'softmaxRows':
    case 'transpose':
      return call.rows;
    case 'gelu':
    case 'binary':
    case 'unary':
      return call.count;
    case 'attention':
      return call.tokens;
    case 'depthwise':
    case 'depthwiseMultiply':
      return call.height;
    case 'convolution':
      return call.outHeight * call.outWidth;
    case 'pack':
      return Math.ceil(call.columns / 8);
    case 'copyBlocks':
      return call.blocks;
    case 'mean':
      return call.columns;
  }
}

/**
 * Items of a share. Several shares per thread leave the rest to others when a thread is held up, but only if
 * they come out even: with seven shares, one of two threads would wait for the other.
 */
function shareOf(items: number, { multiple, minimum }: Sharing, threads: number): number {
  if (threads === 1) return items;
  const options = [4, 3, 2, 1].map((perThread) => {
    const share = Math.ceil(items / (perThread * threads) / multiple) * multiple;
    return {
      share,
      longest: Math.min(items, Math.ceil(Math.ceil(items / share) / threads) * share),
      worthwhile: perThread === 1 || share >= minimum,
    };
  });
  const shortest = Math.min(...options.map(({ longest }) => longest));
  return options.find(({ longest, worthwhile }) => worthwhile && longest <= 1.05 * shortest)?.share ?? items;
}

type FieldType = 'i32' | 'f32' | 'input' | 'optionalInput' | 'panels' | 'output' | keyof typeof enums;

/**
 * Calls as the module reads them.
 *
 * @param addressOf a block, in memory
 * @param formatOf a block of panels
 */
export function encode(
  calls: readonly Call[],
  threads: number,
  addressOf: (block: number) => number,
  formatOf: (block: number) => WeightFormat,
): Uint8Array<ArrayBuffer> {
  const words = new Int32Array(callWords * calls.length);
  const floats = new Float32Array(words.buffer);
  for (const [i, call] of calls.entries()) {
    const items = itemsOf(call);
    const share = shareOf(items, sharing[call.operation], threads);
    const start = callWords * i;
    words.set([operations.indexOf(call.operation), items, share, 0], start);
    const values: Readonly<Record<string, Address | number | string | undefined>> = call;
    const fields: Readonly<Record<string, FieldType>> = callFields[call.operation];
    for (const [k, [field, type]] of Object.entries(fields).entries()) {
      const word = start + headerWords + k;
      const value = type === 'WeightFormat' && 'panels' in call ? formatOf(call.panels.block) : values[field];
      if (type === 'f32') floats[word] = value as number;
      else words[word] = wordOf(type, value, addressOf);
    }
  }
  return new Uint8Array(words.buffer);
}

/** A field's value as a number; an address that is missing is 0. */
function wordOf(
  type: FieldType,
  value: Address | number | string | undefined,
  addressOf: (block: number) => number,
): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'object') return addressOf(value.block) + value.offset;
  if (value === undefined) return 0;
  const names: readonly string[] = enums[type as keyof typeof enums];
  return names.indexOf(value);
}
