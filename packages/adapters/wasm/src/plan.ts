import { Operation, stepWords } from '../assembly/operation.ts';
import { blockUnit, type Call, type Recording } from './record.ts';
import { Allocator } from './room.ts';

type Words = readonly number[];

/** How threads share an operation, and which of its words is where its result goes, or a float32. */
interface Sharing {
  readonly items: (words: Words) => number;
  /** Items that belong together, as the rows of a register tile do. */
  readonly multiple: number;
  /** A share of fewer items is not worth its while. */
  readonly least: number;
  readonly out: number;
  readonly float?: number;
  /** The words for panels and, behind what calls have, for their form. */
  readonly panels?: readonly [address: number, form: number];
}

const sharing: Record<keyof typeof Operation, Sharing> = {
  multiply: { items: (w) => w[0]!, multiple: 4, least: 16, out: 7, panels: [4, 10] },
  layerNorm: { items: (w) => w[0]!, multiple: 1, least: 16, out: 5, float: 6 },
  gelu: { items: (w) => w[0]!, multiple: 4, least: 4096, out: 2 },
  attention: { items: (w) => w[0]!, multiple: 4, least: 16, out: 6 },
  depthwise: { items: (w) => w[0]!, multiple: 1, least: 2, out: 8 },
  depthwiseMultiply: { items: (w) => w[0]!, multiple: 1, least: 2, out: 11, panels: [8, 12] },
  convolution: { items: (w) => w[6]! * w[7]!, multiple: 4, least: 16, out: 12, panels: [10, 14] },
  pack: { items: (w) => Math.ceil(w[0]! / 8), multiple: 1, least: 16, out: 5, float: 6 },
  binary: { items: (w) => w[1]!, multiple: 4, least: 16384, out: 5 },
  unary: { items: (w) => w[1]!, multiple: 4, least: 16384, out: 3 },
  copyBlocks: { items: (w) => w[0]!, multiple: 1, least: 64, out: 4 },
  mean: { items: (w) => w[1]!, multiple: 16, least: 256, out: 3 },
  transpose: { items: (w) => w[0]!, multiple: 1, least: 64, out: 9 },
  softmaxRows: { items: (w) => w[0]!, multiple: 1, least: 64, out: 3 },
};

const blockAt = (word: number): number => Math.floor(word / blockUnit) - 1;
const isAddress = (word: number): boolean => word >= blockUnit;
const outOf = ({ operation, words }: Call): number => blockAt(words[sharing[operation].out]!);
const inputsOf = ({ operation, words }: Call): number[] =>
  words.filter((word, i) => isAddress(word) && i !== sharing[operation].out).map(blockAt);

/** What a recording comes to, with places for its blocks. */
export interface Plan {
  /** Runs once: what follows from constants alone. */
  readonly setup: readonly Call[];
  /** Runs for every input. */
  readonly calls: readonly Call[];
  /** Results of {@link setup} that {@link calls} read, and all other blocks with a source, by index. */
  readonly lasting: ReadonlySet<number>;
  /** Offsets of all other blocks in memory that is free between runs. */
  readonly offsets: ReadonlyMap<number, number>;
  readonly arenaBytes: number;
  readonly scratchBytes: number;
}

/**
 * Joins depthwise convolutions and the product that alone reads them, so that the map between the two, the largest of a
 * block, is never whole.
 */
function fuse(calls: readonly Call[], kept: ReadonlySet<number>): Call[] {
  const readers = new Map<number, number>();
  for (const call of calls)
    for (const block of inputsOf(call)) readers.set(block, (readers.get(block) ?? 0) + 1);
  const fused: Call[] = [];
  for (let i = 0; i < calls.length; i++) {
    const first = calls[i]!;
    const block = outOf(first);
    // One convolution for each image of a batch.
    let last = i;
    while (
      first.operation === 'depthwise' &&
      calls[last]?.operation === 'depthwise' &&
      outOf(calls[last]!) === block
    )
      last++;
    const product = calls[last];
    const [, columns, depth, a, panels, bias, residual, out, activation] = (product?.words ?? []) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    if (
      first.operation !== 'depthwise' ||
      product?.operation !== 'multiply' ||
      activation !== 0 ||
      a !== first.words[8] ||
      depth !== first.words[2] ||
      readers.get(block) !== 1 ||
      kept.has(block)
    ) {
      fused.push(first);
      continue;
    }
    for (let image = 0; i < last; i++, image++) {
      const [height, width, channels, , , x, filter, shift, , kind] = calls[i]!.words as [
        number,
        number,
        number,
        number,
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      const move = 4 * image * height * width * columns;
      fused.push({
        operation: 'depthwiseMultiply',
        words: [
          height,
          width,
          channels,
          x,
          filter,
          shift,
          kind,
          columns,
          panels,
          bias,
          residual === 0 ? 0 : residual + move,
          out + move,
        ],
      });
    }
  }
  return fused;
}

/** Orders a recording's calls and finds places for its blocks: those that are not needed at the same time share them. */
export function planOf(
  { blocks, calls: recorded, scratchBytes, results }: Recording<unknown>,
  bandScratch: (call: Call) => number,
): Plan {
  const kept = new Set(Array.from(results.values(), ({ address }) => blockAt(address)));
  const joined = fuse(recorded, kept);
  const dependent = new Set(
    blocks.flatMap(({ source }, i) => (source !== undefined && 'input' in source ? [i] : [])),
  );
  for (const call of joined)
    if (inputsOf(call).some((block) => dependent.has(block))) dependent.add(outOf(call));
  const setup = joined.filter((call) => !dependent.has(outOf(call)));
  const calls = joined.filter((call) => dependent.has(outOf(call)));
  const used = new Set(
    [...setup, ...calls].flatMap((call) => [...inputsOf(call), outOf(call)]).concat(...kept),
  );

  const lastUse = new Map<number, number>();
  for (const [i, call] of calls.entries())
    for (const block of [...inputsOf(call), outOf(call)]) lastUse.set(block, i);
  const arena = new Allocator();
  const offsets = new Map<number, number>();
  const place = (block: number) => {
    if (dependent.has(block) && !offsets.has(block)) offsets.set(block, arena.allocate(blocks[block]!.bytes));
  };
  for (const block of used) if (blocks[block]!.source !== undefined) place(block);
  for (const [i, call] of calls.entries()) {
    place(outOf(call));
    for (const block of new Set([...inputsOf(call), outOf(call)])) {
      if (dependent.has(block) && !kept.has(block) && lastUse.get(block) === i)
        arena.free(offsets.get(block)!);
    }
  }
  for (const block of kept) place(block);
  return {
    setup,
    calls,
    lasting: new Set([...used].filter((block) => !dependent.has(block))),
    offsets,
    arenaBytes: arena.peak,
    scratchBytes: joined.reduce((most, call) => Math.max(most, bandScratch(call)), scratchBytes),
  };
}

/**
 * Items of a share. Several shares for each thread leave those of a thread that is held up to the others, but only where
 * they come out even: seven shares keep one of two threads waiting.
 */
function shareOf(items: number, multiple: number, least: number, threads: number): number {
  if (threads === 1) return items;
  const options = [4, 3, 2, 1].map((each) => {
    const share = Math.ceil(items / (each * threads) / multiple) * multiple;
    return {
      share,
      longest: Math.min(items, Math.ceil(Math.ceil(items / share) / threads) * share),
      worth: each === 1 || share >= least,
    };
  });
  const shortest = Math.min(...options.map(({ longest }) => longest));
  return options.find(({ longest, worth }) => worth && longest <= 1.05 * shortest)?.share ?? items;
}

const floatBits = (value: number): number => new Int32Array(Float32Array.of(value).buffer)[0]!;

/** Calls as the module reads them. */
export function encode(
  calls: readonly Call[],
  threads: number,
  addressOf: (block: number) => number,
  formOf: (block: number) => number,
): Int32Array<ArrayBuffer> {
  const steps = new Int32Array(stepWords * calls.length);
  for (const [i, { operation, words }] of calls.entries()) {
    const { items, multiple, least, float, panels } = sharing[operation];
    const count = items(words);
    const share = shareOf(count, multiple, least, threads);
    const resolved = words.map((word, k) =>
      isAddress(word) ? addressOf(blockAt(word)) + (word % blockUnit) : k === float ? floatBits(word) : word,
    );
    if (panels !== undefined) {
      while (resolved.length < panels[1]) resolved.push(0);
      resolved.push(formOf(blockAt(words[panels[0]]!)));
    }
    steps.set([Operation[operation], count, share, 0, ...resolved], stepWords * i);
  }
  return steps;
}
