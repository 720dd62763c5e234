import { callWords, type Call, type WeightFormat } from '../generated/calls.ts';
import { Allocator } from './allocator.ts';
import { encode } from './encode.ts';
import type { Packer } from './packer.ts';
import type { MemoryPlan } from './plan.ts';
import type { Block, FixedSource, Program } from './program.ts';
import type { ThreadPool } from './threads.ts';
import type { RunMessage } from './worker.js';

/** Address of the words of the threads' barrier. */
export const controlAddress = 1024;

/**
 * Weights are sent to the threads in chunks of about so many bytes, so that there are never two full copies.
 */
const chunkBytes = 4e6;

interface Region {
  readonly address: number;
  readonly bytes: number;
}

/** The memory of a resident block. */
interface Placement {
  readonly address: number;
  readonly format: WeightFormat;
}

type Write = RunMessage['writes'][number];

/** A program whose resident blocks are in the threads' memory. */
export interface LoadedProgram {
  readonly program: Program;
  readonly plan: MemoryPlan;
  readonly resident: ReadonlyMap<number, Placement>;
  /** Addresses that no other program uses. */
  readonly owned: readonly number[];
  /** Address of the encoded calls. */
  readonly callsAddress: number;
  /** Arena address that the encoded calls were built for; undefined before they are encoded. */
  encodedArena: number | undefined;
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  // A message clones the whole buffer of a view.
  return byteLength === buffer.byteLength ? bytes : bytes.slice();
}

const valuesOf = async (source: FixedSource): Promise<Float32Array> =>
  source.kind === 'constant' ? source.data : source.tensor.data<'float32'>();

/** Loads programs into the memory of the threads and executes them there. */
export class Executor {
  private readonly allocator = new Allocator(controlAddress + 64);
  /** Weights that are in memory, by {@link keyOf}. */
  private readonly weights = new Map<string, Placement>();
  private readonly tensorIds = new WeakMap<object, number>();
  private tensorCount = 0;
  /** What programs use between two runs, as large as the largest of them needs it. */
  private arena: Region = { address: 0, bytes: 0 };
  private scratch: Region = { address: 0, bytes: 0 };
  private largestMemory = 0;

  constructor(
    private readonly threads: ThreadPool,
    private readonly packer: Packer,
    private readonly weightFormat: WeightFormat,
  ) {}

  /** Bytes of the threads' memory. */
  get memoryBytes(): number {
    return this.largestMemory;
  }

  /**
   * Copies the weights that are not in memory yet, and runs the program's setup. On failure memory is as
   * before.
   */
  async load(program: Program, plan: MemoryPlan): Promise<LoadedProgram> {
    const { arena, scratch } = this;
    const allocated: number[] = [];
    const allocate = (bytes: number): number => {
      const address = this.allocator.allocate(bytes);
      allocated.push(address);
      return address;
    };
    try {
      const { resident, owned, shared } = await this.loadResidentBlocks(program, plan, allocate);
      this.arena = growRegion(arena, plan.arenaBytes, allocate);
      const scratchBytes = this.threads.count * Math.ceil(plan.scratchBytes / 64) * 64;
      this.scratch = growRegion(scratch, scratchBytes, allocate);
      const callsAddress = allocate(4 * callWords * Math.max(plan.calls.length, plan.setup.length));
      owned.push(callsAddress);
      const loaded = { program, plan, resident, owned, callsAddress, encodedArena: undefined };
      await this.send({ calls: callsAddress, writes: [[callsAddress, this.encode(plan.setup, loaded)]] });
      if (plan.setup.length > 0) await this.send({ calls: callsAddress, count: plan.setup.length });
      for (const [key, placement] of shared) this.weights.set(key, placement);
      this.freeReplaced(arena, this.arena);
      this.freeReplaced(scratch, this.scratch);
      return loaded;
    } catch (error) {
      for (const address of allocated) this.allocator.free(address);
      this.arena = arena;
      this.scratch = scratch;
      throw error;
    }
  }

  /** Frees what no other program uses. */
  unload({ owned }: LoadedProgram): void {
    for (const address of owned) this.allocator.free(address);
  }

  /**
   * Runs a program.
   *
   * @param inputs values of the graph's inputs
   * @returns values of the graph's outputs
   */
  execute(loaded: LoadedProgram, inputs: readonly Float32Array[]): Promise<readonly ArrayBuffer[]> {
    const { program, plan, callsAddress } = loaded;
    const writes: Write[] = [];
    if (loaded.encodedArena !== this.arena.address)
      writes.push([callsAddress, this.encode(plan.calls, loaded)]);
    loaded.encodedArena = this.arena.address;
    for (const [block, { source }] of program.blocks.entries()) {
      if (source?.kind === 'input' && plan.offsets.has(block))
        writes.push([this.addressOf(block, loaded), bytesOf(inputs[source.index]!)]);
    }
    const reads = program.outputs.map(
      ({ address, bytes }) => [this.addressOf(address.block, loaded) + address.offset, bytes] as const,
    );
    return this.send({ calls: callsAddress, count: plan.calls.length, writes, reads });
  }

  private async loadResidentBlocks(
    { blocks }: Program,
    { resident: indices }: MemoryPlan,
    allocate: (bytes: number) => number,
  ) {
    const resident = new Map<number, Placement>();
    const owned: number[] = [];
    const shared = new Map<string, Placement>();
    let writes: Write[] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      await this.send({ writes });
      [writes, bytes] = [[], 0];
    };
    for (const index of indices) {
      const block = blocks[index]!;
      const key = this.keyOf(block);
      const known = key === undefined ? undefined : (this.weights.get(key) ?? shared.get(key));
      if (known !== undefined) {
        resident.set(index, known);
        continue;
      }
      const content = await this.contentOf(block);
      const placement = {
        address: allocate(content?.bytes.byteLength ?? block.bytes),
        format: content?.format ?? 'float32',
      };
      resident.set(index, placement);
      if (key === undefined) owned.push(placement.address);
      else shared.set(key, placement);
      if (content === undefined) continue;
      writes.push([placement.address, content.bytes]);
      bytes += content.bytes.byteLength;
      if (bytes >= chunkBytes) await flush();
    }
    if (writes.length > 0) await flush();
    this.packer.release();
    return { resident, owned, shared };
  }

  /**
   * A name for a weight of the caller, as long as the runner lives; what a forward makes by itself has none.
   */
  private keyOf({ source }: Block): string | undefined {
    const weight = source?.kind === 'panels' ? source.weight : source;
    if (weight?.kind !== 'weight') return undefined;
    const { dataId } = weight.tensor;
    const id = this.tensorIds.get(dataId) ?? this.tensorCount++;
    this.tensorIds.set(dataId, id);
    return `${id}${source?.kind === 'panels' ? ', packed' : ''}`;
  }

  /** The bytes of a block, or undefined if the setup computes it. */
  private async contentOf({
    source,
  }: Block): Promise<{ readonly bytes: Uint8Array; readonly format: WeightFormat } | undefined> {
    if (source?.kind === 'weight' || source?.kind === 'constant')
      return { bytes: bytesOf(await valuesOf(source)), format: 'float32' };
    if (source?.kind !== 'panels') return undefined;
    const { weight, inputs, outputs } = source;
    return this.packer.pack(await valuesOf(weight), inputs, outputs, this.weightFormat);
  }

  private addressOf(block: number, { plan, resident }: LoadedProgram): number {
    return resident.get(block)?.address ?? this.arena.address + plan.offsets.get(block)!;
  }

  private encode(calls: readonly Call[], loaded: LoadedProgram): Uint8Array {
    return encode(
      calls,
      this.threads.count,
      (block) => this.addressOf(block, loaded),
      (block) => loaded.resident.get(block)?.format ?? 'float32',
    );
  }

  private freeReplaced(before: Region, now: Region): void {
    if (before.bytes > 0 && before.address !== now.address) this.allocator.free(before.address);
  }

  private async send(message: Partial<RunMessage>): Promise<readonly ArrayBuffer[]> {
    const memoryBytes = this.allocator.end;
    const results = await this.threads.send({
      writes: [],
      reads: [],
      calls: 0,
      count: 0,
      memoryBytes,
      scratch: this.scratch.address,
      scratchBytes: this.scratch.bytes / this.threads.count,
      ...message,
    });
    this.largestMemory = Math.max(this.largestMemory, memoryBytes);
    return results;
  }
}

const growRegion = (region: Region, bytes: number, allocate: (bytes: number) => number): Region =>
  bytes <= region.bytes ? region : { address: allocate(bytes), bytes };
