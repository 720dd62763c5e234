import * as tf from '@tensorflow/tfjs-core';
import { ConfigError, DisposedError } from '@pvt/core';
import { stepWords } from '../assembly/operation.ts';
import { kernelsBinary, runnerBinary } from './binary.ts';
import { encode, planOf, type Plan } from './plan.ts';
import { compileBinary } from './module.ts';
import { packerOf, weightForms, type WeightForm } from './packer.ts';
import {
  blockUnit,
  record,
  replaceTensors,
  tensorsOf,
  type Block,
  type Call,
  type Recording,
} from './record.ts';
import { Allocator } from './room.ts';
import { sizeOf } from './check.ts';
import { startThreads } from './threads.ts';

export interface RunnerOptions {
  /** Threads that share each forward; 1 by default. More than the machine's cores make it slower. */
  readonly threads?: number;
  /**
   * How the weights of products lie in memory; `float32` by default. `float16` takes half of the room, and only weights that
   * are float16 numbers anyway, as in a checkpoint of that type: results stay the same, to the bit. `int8` takes a quarter
   * and less time in larger models; weights are rounded to 8 bits, by a scale for each output channel, and activations to 16, by one for
   * each token, so that results differ (docs/decisions/wasm-kernels.md).
   */
  readonly weights?: WeightForm;
}

/** A forward on threads of its own. */
export interface Runner<I, O> {
  /** Threads that share a forward. */
  readonly threads: number;
  /** Why {@link threads} are fewer than asked for, or why they do not run beside the caller; undefined where all is as asked. */
  readonly limitation?: string;
  /** Bytes of memory that the runner holds, weights included. */
  readonly bytes: number;
  /**
   * Prepares for inputs of these shapes, which the first `run` would do otherwise: writes the forward down, copies what weights
   * it needs that are not there yet, and runs it once. The input is borrowed.
   */
  warmup(input: I): Promise<void>;
  /**
   * The forward's output for an input, with tensors on the current backend that belong to the caller. The input is borrowed
   * until the call returns, which is at once; calls queue up.
   */
  run(input: I): Promise<O>;
  /** Stops the threads and frees their memory; runs that have not come back reject. */
  dispose(): void;
}

/** Shapes of inputs that a runner remembers. */
const shapesKept = 8;
const controlAddress = 1024;
/** Weights travel to the threads in lots of about so many bytes, so that they are never there twice as a whole. */
const lotBytes = 4e6;

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array => {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  // What is sent takes all of its buffer along.
  return byteLength === buffer.byteLength ? bytes : bytes.slice();
};

interface Placed {
  readonly address: number;
  readonly form: WeightForm;
}

interface Ready<O> {
  readonly recording: Recording<O>;
  readonly plan: Plan;
  /** Where what lasts is, by block. */
  readonly places: ReadonlyMap<number, Placed>;
  /** What only this plan has, to be given back. */
  readonly own: readonly number[];
  readonly steps: number;
  /** Where the steps think that the memory between runs is. */
  arena: number;
}

/**
 * A forward on threads of its own, over kernels of its own: it runs beside the caller, on workers that share one memory
 * (worker_threads in Node; in a page that is cross-origin isolated), and so does not hold up a page. Where memory cannot be
 * shared, one worker does it all; `limitation` says so.
 *
 * The forward is called once for inputs of each shape, on stand-ins for tensors, to learn what it computes. Weights are copied
 * then: a model that is trained further needs a new runner. It may be made of the layers and heads of `@pvt` and a few ops
 * of tfjs, and must not read values of tensors.
 *
 * @param forward from a tensor, or tensors in a structure of arrays and objects, to others
 * @throws ConfigError for options that do not hold; BackendError for an engine without SIMD, or from `run` and `warmup` for an op
 * that runners do not know or memory that is not there
 * @example
 * const runner = await createRunner((input: tf.Tensor4D) => head.forward(backbone.forward(input).embedding), { threads: 2 });
 * const logits = await runner.run(input);
 * runner.dispose();
 */
export async function createRunner<I, O>(
  forward: (input: I) => O,
  { threads: wanted = 1, weights: form = 'float32' }: RunnerOptions = {},
): Promise<Runner<I, O>> {
  if (!(Number.isInteger(wanted) && wanted >= 1 && wanted <= 64))
    throw new ConfigError(
      'threads-invalid',
      `createRunner: expected 1 to 64 threads, got ${String(wanted)}; the machine's cores are a good number.`,
    );
  if (!weightForms.includes(form))
    throw new ConfigError(
      'weights-invalid',
      `createRunner: expected weights as one of ${weightForms.join(', ')}, got ${String(form)}; leave it out for float32.`,
    );
  const [kernels, module] = await Promise.all([
    compileBinary(kernelsBinary, 'createRunner'),
    compileBinary(runnerBinary, 'createRunner'),
  ]);
  const threads = await startThreads(module, wanted, controlAddress);
  const packer = packerOf(kernels);
  const room = new Allocator(controlAddress + 64);
  const weights = new Map<string, Placed>();
  const numbers = new Map<object, number>();
  const readies = new Map<string, Promise<Ready<O>>>();
  let arena = { address: 0, bytes: 0 };
  let scratch = { address: 0, bytes: 0 };
  let held = 0;
  let disposed = false;

  /** What all plans use between runs, as large as the largest of them needs it. Steps follow it when they run next. */
  const atLeast = (now: typeof arena, bytes: number): typeof arena =>
    bytes <= now.bytes ? now : { address: room.allocate(bytes), bytes };
  const placing =
    ({ plan, places }: Pick<Ready<O>, 'plan' | 'places'>) =>
    (block: number): number =>
      places.get(block)?.address ?? arena.address + plan.offsets.get(block)!;
  const stepsOf = (calls: readonly Call[], { plan, places }: Pick<Ready<O>, 'plan' | 'places'>): Uint8Array =>
    new Uint8Array(
      encode(calls, threads.count, placing({ plan, places }), (block) =>
        weightForms.indexOf(places.get(block)?.form ?? 'float32'),
      ).buffer,
    );
  const order = async (
    steps: number,
    count: number,
    writes: [number, Uint8Array][] = [],
    reads: [number, number][] = [],
  ) => {
    const { end } = room;
    const results = await threads.send({
      end,
      writes,
      steps,
      count,
      scratch: scratch.address,
      scratchBytes: scratch.bytes / threads.count,
      reads,
    });
    held = Math.max(held, end);
    return results;
  };

  async function prepare(input: I): Promise<Ready<O>> {
    const recording = record(forward, input, packer.sizes);
    const plan = planOf(recording, packer.scratchOf);
    const places = new Map<number, Placed>();
    const own: number[] = [];
    const copied = new Map<string, Placed>();
    const before = [arena, scratch] as const;
    const give = (addresses: Iterable<number>): void =>
      [...addresses].forEach((address) => room.free(address));
    const replaced = (old: readonly (typeof arena)[], by: readonly (typeof arena)[]) =>
      old
        .filter(({ address, bytes }, i) => bytes > 0 && address !== by[i]!.address)
        .map(({ address }) => address);
    let writes: [number, Uint8Array][] = [];
    let written = 0;
    try {
      for (const index of plan.lasting) {
        const block = recording.blocks[index]!;
        const key = keyOf(block);
        const known = key === undefined ? undefined : (weights.get(key) ?? copied.get(key));
        if (known !== undefined) {
          places.set(index, known);
          continue;
        }
        const values = await contentOf(block);
        const placed = {
          address: room.allocate(values?.bytes.byteLength ?? block.bytes),
          form: values?.form ?? 'float32',
        };
        places.set(index, placed);
        if (key === undefined) own.push(placed.address);
        else copied.set(key, placed);
        if (values === undefined) continue;
        writes.push([placed.address, values.bytes]);
        written += values.bytes.byteLength;
        if (written < lotBytes) continue;
        await order(0, 0, writes);
        [writes, written] = [[], 0];
      }
      packer.rest();
      arena = atLeast(arena, plan.arenaBytes);
      scratch = atLeast(scratch, threads.count * Math.ceil(plan.scratchBytes / 64) * 64);
      const ready = {
        recording,
        plan,
        places,
        own,
        steps: room.allocate(4 * stepWords * Math.max(plan.calls.length, plan.setup.length)),
        arena: -1,
      };
      own.push(ready.steps);
      await order(0, 0, [...writes, [ready.steps, stepsOf(plan.setup, ready)]]);
      if (plan.setup.length > 0) await order(ready.steps, plan.setup.length);
      for (const [key, placed] of copied) weights.set(key, placed);
      give(replaced(before, [arena, scratch]));
      return ready;
    } catch (error) {
      // What could not be written must not be found later.
      give([
        ...own,
        ...Array.from(copied.values(), ({ address }) => address),
        ...replaced([arena, scratch], before),
      ]);
      [arena, scratch] = before;
      throw error;
    }
  }

  /** What a weight is called for as long as the runner lives; what a forward makes by itself has no name. */
  const keyOf = ({ source }: Block): string | undefined => {
    if (source === undefined || !('tensor' in source || 'panelsOf' in source)) return undefined;
    if ('panelsOf' in source) {
      const key = keyOf(source.panelsOf);
      return key && `${key} in panels, ${source.transposed}`;
    }
    const { dataId } = source.tensor;
    numbers.set(dataId, numbers.get(dataId) ?? numbers.size);
    return String(numbers.get(dataId));
  };

  async function contentOf({
    source,
  }: Block): Promise<{ readonly bytes: Uint8Array; readonly form: WeightForm } | undefined> {
    if (source === undefined || !('panelsOf' in source)) {
      const values = await valuesOf(source);
      return values && { bytes: bytesOf(values), form: 'float32' };
    }
    const { panelsOf, inputs, outputs, transposed } = source;
    return packer.pack((await valuesOf(panelsOf.source))!, inputs, outputs, transposed, form);
  }

  async function valuesOf(source: Block['source']): Promise<Float32Array | undefined> {
    if (source === undefined) return undefined;
    if ('values' in source) return source.values;
    return 'tensor' in source ? source.tensor.data<'float32'>() : undefined;
  }

  /** The plan for a shape; of those that have not been used for long, one goes for it. */
  async function readyFor(input: I): Promise<Ready<O>> {
    // What is no tensor counts as it is: a forward may depend on it.
    const key = JSON.stringify(replaceTensors(input, ({ shape }) => ({ shape })));
    const ready = readies.get(key) ?? prepare(input);
    readies.delete(key);
    readies.set(key, ready);
    ready.catch(() => readies.delete(key));
    const [oldest] = readies;
    if (readies.size > shapesKept && oldest !== undefined) {
      readies.delete(oldest[0]);
      for (const address of (await oldest[1]).own) room.free(address);
    }
    return ready;
  }

  async function forwardOf(
    input: I,
    reading: Promise<readonly Float32Array[]>,
  ): Promise<{ readonly recording: Recording<O>; readonly buffers: readonly ArrayBuffer[] }> {
    const ready = await readyFor(input);
    const values = await reading;
    const { recording, plan, steps } = ready;
    const placeOf = placing(ready);
    const writes: [number, Uint8Array][] = [];
    if (ready.arena !== arena.address) writes.push([steps, stepsOf(plan.calls, ready)]);
    ready.arena = arena.address;
    for (const [block, { source }] of recording.blocks.entries()) {
      if (source !== undefined && 'input' in source && plan.offsets.has(block))
        writes.push([placeOf(block), bytesOf(values[source.input]!)]);
    }
    const reads = Array.from(recording.results.values(), ({ address, shape }): [number, number] => [
      placeOf(Math.floor(address / blockUnit) - 1) + (address % blockUnit),
      4 * sizeOf(shape),
    ]);
    return { recording, buffers: await order(steps, plan.calls.length, writes, reads) };
  }

  // One forward after the other, preparation included: they share memory between steps.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(() => {
      if (disposed) throw new DisposedError('Runner');
      return work();
    });
    last = next.catch(() => undefined);
    return next;
  };
  return {
    threads: threads.count,
    ...(threads.limitation !== undefined && { limitation: threads.limitation }),
    get bytes() {
      return held;
    },
    warmup: (input) =>
      inTurn(
        async () =>
          void (await forwardOf(
            input,
            Promise.resolve(tensorsOf(input).map(({ size }) => new Float32Array(size))),
          )),
      ),
    run(input) {
      // Read at once: the caller may dispose of it before its turn comes. Of its tensors only shapes are needed then.
      const reading = Promise.all(tensorsOf(input).map((tensor) => tensor.data<'float32'>()));
      reading.catch(() => undefined);
      return inTurn(async () => {
        const { recording, buffers } = await forwardOf(input, reading);
        const tensors = new Map(
          Array.from(recording.results, ([tensor, { shape }], i) => [
            tensor,
            tf.tensor(new Float32Array(buffers[i]!), [...shape], 'float32'),
          ]),
        );
        return replaceTensors(recording.output, (tensor) => tensors.get(tensor)) as O;
      });
    },
    dispose() {
      disposed = true;
      threads.stop(new DisposedError('Runner'));
    },
  };
}
