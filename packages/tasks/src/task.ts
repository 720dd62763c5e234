import type { Model, Image } from '@pvt/core';
import type { Checkpoint, CheckpointReference, FitReport, LoadOptions } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';

/** What differs between the browser and Node. */
export interface Platform<S> {
  readonly loadCheckpoint: (reference: CheckpointReference, options: LoadOptions) => Promise<Checkpoint>;
  readonly openImage: (source: S, signal: AbortSignal | undefined) => Promise<Image>;
}

/** A place where forwards run; `createRunner` of `@pvt/adapter-wasm/runner` starts such a one. */
export type StartRunner = <I, O>(
  forward: (input: I) => O,
) => Promise<{ run(input: I): Promise<O>; dispose(): void }>;

/** What every task takes besides its own options. The options of `loadCheckpoint` are taken too. */
export interface TaskOptions extends LoadOptions {
  /** Names of the classes by index; those of the checkpoint where absent. */
  readonly names?: readonly string[];
  /** Images that go through the model together where their inputs are of one size. */
  readonly batch?: number;
  /** Whether to run the model once before the first image, which prepares the backend; true where absent. */
  readonly warmUp?: boolean;
  /**
   * Starts another place for the model to run in than the current backend; the task disposes of it. Its `model` or `parts`
   * stay here, and what is done to their parameters later does not reach it.
   *
   * @example
   * createDetector(checkpoint, { runner: (forward) => createRunner(forward, { threads: 2 }) });
   */
  readonly runner?: StartRunner;
}

export interface RunOptions {
  /** Stops between two batches and rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What every task has in common. */
export interface Task {
  /** Names of the classes by index; empty where nobody told them. */
  readonly names: readonly string[];
  /** What of the checkpoint was taken, and what was not. Absent for parts. */
  readonly report?: FitReport;
  /** Frees the model. Calling it again does nothing. */
  dispose(): void;
}

/** A checkpoint that is loaded already, or where to load it from. */
export type CheckpointLike = Checkpoint | CheckpointReference;

export const isCheckpoint = (value: unknown): value is Checkpoint =>
  typeof value === 'object' && value !== null && 'source' in value && 'tensors' in value;

type Disposable = Pick<Model, 'dispose'>;
export const disposeAll = (models: readonly Disposable[]): void => models.forEach((model) => model.dispose());

/** Builds models one after the other; where one fails, those before it are freed. */
export function buildAll<T extends Record<string, Disposable>>(
  steps: (keep: <M extends Disposable>(model: M) => M) => T,
): T {
  const built: Disposable[] = [];
  try {
    return steps((model) => {
      built.push(model);
      return model;
    });
  } catch (error) {
    disposeAll(built);
    throw error;
  }
}

/** A model's forward where the task's options want it. What it is given is freed, also where it fails. */
export async function forwardIn<O>(
  start: StartRunner | undefined,
  models: readonly Disposable[],
  forward: (input: tf.Tensor4D) => O,
): Promise<{ run(input: tf.Tensor4D): Promise<O>; dispose(): void }> {
  try {
    const place = await start?.(forward);
    return {
      async run(input) {
        try {
          return place === undefined
            ? (tf.tidy(() => forward(input) as tf.TensorContainer) as O)
            : await place.run(input);
        } finally {
          input.dispose();
        }
      },
      dispose() {
        place?.dispose();
        disposeAll(models);
      },
    };
  } catch (error) {
    disposeAll(models);
    throw error;
  }
}

/** Hands a task over after its first run; where that fails, its model is freed. */
export async function warmed<T extends Task>(
  task: T,
  firstRun: (() => Promise<unknown>) | undefined,
): Promise<T> {
  try {
    await firstRun?.();
    return task;
  } catch (error) {
    task.dispose();
    throw error;
  }
}

/** Runs of at most `limit` neighbours with equal keys. */
function* runsOf<T>(items: readonly T[], limit: number, keyOf: (item: T) => string): Generator<T[]> {
  let run: T[] = [];
  for (const item of items) {
    if (run.length > 0 && (run.length >= limit || keyOf(run[0]!) !== keyOf(item))) {
      yield run;
      run = [];
    }
    run.push(item);
  }
  if (run.length > 0) yield run;
}

/**
 * Opens and prepares images `batch` at a time and hands neighbours of one size to the model together, giving the page a
 * turn in between.
 */
export async function inBatches<S, P, R>(
  sources: readonly S[],
  { batch = 1, signal }: { readonly batch?: number; readonly signal?: AbortSignal | undefined },
  prepare: (source: S) => Promise<P>,
  keyOf: (prepared: P) => string,
  run: (prepared: readonly P[]) => Promise<R[]>,
): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < sources.length; start += batch) {
    signal?.throwIfAborted();
    const prepared = await Promise.all(sources.slice(start, start + batch).map(prepare));
    for (const some of runsOf(prepared, batch, keyOf)) {
      signal?.throwIfAborted();
      results.push(...(await run(some)));
      // A timer, because animation frames stop in hidden pages.
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
  signal?.throwIfAborted();
  return results;
}
