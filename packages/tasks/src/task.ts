import {
  loadCheckpoint,
  type Checkpoint,
  type CheckpointReference,
  type CompatibilityReport,
  type LoadOptions,
} from '@pvt/presets';
import type { CreateRunner } from './runner.ts';

/** The options that every task takes, those of `loadCheckpoint` among them. */
export interface TaskOptions extends LoadOptions {
  /** Class names by index. Default: those of the checkpoint. */
  readonly names?: readonly string[];
  /** Most images per forward pass; only inputs of one size share a pass. Default: 8 to classify, else 1. */
  readonly batch?: number;
  /**
   * Whether to run the model once on a blank image while loading, which prepares the backend. Default: true.
   */
  readonly warmUp?: boolean;
  /**
   * Runs the model elsewhere than on the current backend; the task disposes of the runner. The parameters of
   * the task's `model` are copied to it once: later changes to them do not reach it. Default: the current
   * backend.
   *
   * @example
   * createDetector(checkpoint, { runner: (forward) => createRunner(forward, { threads: 2 }) });
   */
  readonly runner?: CreateRunner;
}

/** The options of every call. */
export interface RunOptions {
  /** Stops before the next batch; the call then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What all tasks have in common. */
export interface Task {
  /** Class names by index. Empty if neither the checkpoint nor the options name any. */
  readonly names: readonly string[];
  /** Which parameters the checkpoint had and which it lacked. Absent if the task was made from a model. */
  readonly report?: CompatibilityReport;
  /** Frees the model and its runner. Calling it again does nothing. */
  dispose(): void;
}

/** A checkpoint, or where to load one from. */
export type CheckpointLike = Checkpoint | CheckpointReference;

/** Whether a value is a loaded {@link Checkpoint} and not a reference to one. */
export const isCheckpoint = (value: unknown): value is Checkpoint =>
  typeof value === 'object' && value !== null && 'source' in value && 'tensors' in value;

/** The checkpoint itself, loaded if it is a reference. */
export const loadOnce = async (checkpoint: CheckpointLike, options: LoadOptions): Promise<Checkpoint> =>
  isCheckpoint(checkpoint) ? checkpoint : loadCheckpoint(checkpoint, options);

/** Runs a new task once; if that fails, the task is disposed of. */
export async function warmUpTask(task: Task, run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    task.dispose();
    throw error;
  }
}

/** A call that takes one item and gives one result, or several items and gives as many. */
export interface OneOrMany<Item, Options, Result> {
  (item: Item, options?: Options): Promise<Result>;
  (items: readonly Item[], options?: Options): Promise<Result[]>;
}

/** Lets a function over several items also take one by itself. */
export function oneOrMany<Item, Options, Result>(
  run: (items: readonly Item[], options: Options | undefined) => Promise<Result[]>,
): OneOrMany<Item, Options, Result> {
  const isList = (value: Item | readonly Item[]): value is readonly Item[] => Array.isArray(value);
  async function call(item: Item, options?: Options): Promise<Result>;
  async function call(items: readonly Item[], options?: Options): Promise<Result[]>;
  async function call(input: Item | readonly Item[], options?: Options): Promise<Result | Result[]> {
    return isList(input) ? run(input, options) : (await run([input], options))[0]!;
  }
  return call;
}
