import { ConfigError, DisposedError } from '@pvt/core';
import { flattenTensors, type Graph, mapTensors, record } from '@pvt/graph';
import * as tf from '@tensorflow/tfjs-core';
import type { WeightFormat } from '../generated/calls.ts';
import { kernelsBinary } from '../generated/kernelsBinary.ts';
import { runnerBinary } from '../generated/runnerBinary.ts';
import { compileBinary } from '../module.ts';
import { controlAddress, Executor, type LoadedProgram } from './executor.ts';
import { lower } from './lower.ts';
import { Packer, weightFormats } from './packer.ts';
import { planMemory } from './plan.ts';
import type { Platform } from './platform.ts';
import { ThreadPool } from './threads.ts';

export interface RunnerOptions {
  /** Threads that share each forward. More than the machine's cores make it slower. Default: 1. */
  readonly threads?: number;
  /**
   * How weights of products are stored. `float16` takes half of the memory, for weights that are
   * float16 numbers anyway, as in a checkpoint of that type; the others stay float32, and results are the
   * same to the bit. `int8` takes a quarter, and less time in larger models; weights are rounded to 8 bits
   * with one scale per output channel, activations to 16 bits with one scale per token, so that results
   * differ (docs/decisions/wasm-kernels.md). Default: `float32`.
   */
  readonly weights?: WeightFormat;
}

/** A forward on threads of its own. */
export interface Runner<I, O> {
  /** Threads that share a forward. */
  readonly threads: number;
  /** Why there are fewer {@link threads} than asked for, or why they do not run beside the caller. */
  readonly limitation?: string;
  /** Bytes of memory that the runner holds, weights included. */
  readonly bytes: number;
  /**
   * Prepares for inputs of these shapes, which the first `run` would do otherwise: records the forward,
   * copies the weights that it needs and that are not in memory yet, and runs it once. The input is borrowed.
   */
  warmup(input: I): Promise<void>;
  /**
   * The forward's output for an input; its tensors are on the current backend and belong to the caller. The
   * input is only borrowed until the call returns, before the promise settles. Calls queue up.
   */
  run(input: I): Promise<O>;
  /** Stops the threads and frees their memory. Rejects pending runs. */
  dispose(): void;
}

/** Input shapes that a runner stays prepared for. */
const preparedShapes = 8;

/** A forward, ready to run for inputs of one shape. */
interface Prepared<O> {
  readonly graph: Graph<O>;
  readonly loaded: LoadedProgram;
}

/** `createRunner` on a platform. */
export async function createRunnerOn<I, O>(
  platform: Platform,
  forward: (input: I) => O,
  { threads = 1, weights = 'float32' }: RunnerOptions,
): Promise<Runner<I, O>> {
  if (!(Number.isInteger(threads) && threads >= 1 && threads <= 64))
    throw new ConfigError(
      'threads-invalid',
      `createRunner: expected 1 to 64 threads, got ${String(threads)}; ` +
        "the number of the machine's cores is a good choice.",
    );
  if (!weightFormats.includes(weights))
    throw new ConfigError(
      'weights-invalid',
      `createRunner: expected weights as one of ${weightFormats.join(', ')}, got ${String(weights)}; ` +
        'leave it out for float32.',
    );
  const [kernels, module] = await Promise.all([
    compileBinary(kernelsBinary, 'createRunner'),
    compileBinary(runnerBinary, 'createRunner'),
  ]);
  const pool = await ThreadPool.start(platform, module, threads, controlAddress);
  return new ThreadedRunner(forward, pool, new Packer(kernels), weights);
}

class ThreadedRunner<I, O> implements Runner<I, O> {
  readonly threads: number;
  readonly limitation?: string;
  private readonly executor: Executor;
  /** By the shapes of the input, the least recently used one first. */
  private readonly prepared = new Map<string, Promise<Prepared<O>>>();
  private last: Promise<unknown> = Promise.resolve();
  private disposed = false;

  constructor(
    private readonly forward: (input: I) => O,
    private readonly pool: ThreadPool,
    private readonly packer: Packer,
    weightFormat: WeightFormat,
  ) {
    this.threads = pool.count;
    if (pool.limitation !== undefined) this.limitation = pool.limitation;
    this.executor = new Executor(pool, packer, weightFormat);
  }

  get bytes(): number {
    return this.executor.memoryBytes;
  }

  warmup(input: I): Promise<void> {
    return this.enqueue(async () => {
      const { loaded } = await this.preparedFor(input);
      const zeros = flattenTensors(input).map(({ size }) => new Float32Array(size));
      await this.executor.execute(loaded, zeros);
    });
  }

  run(input: I): Promise<O> {
    // Values are read now, because the caller may dispose of the input; later only shapes of its tensors are
    // needed.
    const reading = Promise.all(flattenTensors(input).map((tensor) => tensor.data<'float32'>()));
    // If the queue fails first, nobody awaits it.
    reading.catch(() => undefined);
    return this.enqueue(async () => {
      const { graph, loaded } = await this.preparedFor(input);
      const buffers = await this.executor.execute(loaded, await reading);
      const tensors = graph.outputs.map(({ shape }, i) =>
        tf.tensor(new Float32Array(buffers[i]!), [...shape], 'float32'),
      );
      return graph.assemble(tensors);
    });
  }

  dispose(): void {
    this.disposed = true;
    this.pool.stop(new DisposedError('Runner'));
  }

  /** One forward after the other, preparation included: they share memory. */
  private enqueue<T>(work: () => Promise<T>): Promise<T> {
    const next = this.last.then(() => {
      if (this.disposed) throw new DisposedError('Runner');
      return work();
    });
    this.last = next.catch(() => undefined);
    return next;
  }

  /**
   * The program for the shapes of an input. Beyond {@link preparedShapes} it replaces the least recently used
   * one.
   */
  private async preparedFor(input: I): Promise<Prepared<O>> {
    // Everything in the input that is not a tensor counts by its value: the forward may depend on it.
    const key = JSON.stringify(mapTensors(input, ({ shape }) => ({ shape })));
    const prepared = this.prepared.get(key) ?? this.prepare(input);
    this.prepared.delete(key);
    this.prepared.set(key, prepared);
    prepared.catch(() => this.prepared.delete(key));
    const [oldest] = this.prepared;
    if (this.prepared.size > preparedShapes && oldest !== undefined) {
      this.prepared.delete(oldest[0]);
      this.executor.unload((await oldest[1]).loaded);
    }
    return prepared;
  }

  private async prepare(input: I): Promise<Prepared<O>> {
    const graph = record(this.forward, input);
    const program = lower(graph, this.packer.sizes);
    const plan = planMemory(program, this.packer.sizes);
    return { graph, loaded: await this.executor.load(program, plan) };
  }
}
