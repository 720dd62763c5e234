import type * as tf from '@tensorflow/tfjs-core';
import { ConfigError, type TrainingContext } from '@pvt/core';
import type { Metrics, Snapshot, Store } from './events.ts';
import type { OptimizerFactory } from './optimizer.ts';
import { allParameters, type Selection } from './parameters.ts';
import { constantSchedule, type Schedule } from './schedule.ts';

/** Batches that can be iterated repeatedly, epoch by epoch. */
export interface TrainingData<Batch> {
  /** Batches per epoch. */
  readonly length: number;
  /**
   * The batches of an epoch, counted from 0: always the same for the same epoch. The loop is done with a
   * batch when it asks for the next.
   */
  batches(epoch: number): AsyncIterable<Batch> | Iterable<Batch>;
}

export interface TrainOptions<Batch> {
  readonly data: TrainingData<Batch>;
  /**
   * Mean loss of a batch; its tensors are tidied. Pass the context to every forward: all randomness comes
   * from it.
   */
  loss(batch: Batch, context: TrainingContext): tf.Scalar;
  readonly optimizer: OptimizerFactory;
  /** Which parameters train. Default: {@link allParameters}. */
  readonly select?: Selection;
  /** Default: {@link constantSchedule}. */
  readonly schedule?: Schedule;
  /** Ends the run after this many passes over the data; one of `epochs` and `minutes` is needed. */
  readonly epochs?: number;
  /** Ends the run after this much time, added up over resumed runs; the schedule then follows the time. */
  readonly minutes?: number;
  /** Batches per step, whose gradients are averaged. Default: 1. */
  readonly accumulate?: number;
  /** Largest norm of all gradients together, to which longer ones are scaled down. Default: none. */
  readonly clip?: number;
  /**
   * Decay of a moving average of the weights, such as 0.999, which validation and the best checkpoint use.
   * Default: none.
   */
  readonly average?: number;
  /**
   * Whether blocks are recomputed in the backward pass, which is slower and takes less memory. Default:
   * false.
   */
  readonly recompute?: boolean;
  /** Default: 0. */
  readonly seed?: number;
  /** Measures the models as they are when it is called. */
  validate?(): Promise<Metrics> | Metrics;
  /** Epochs between validations; the end of a run is always validated. Default: 1. */
  readonly validateEvery?: number;
  /** Ends the run after this many validations without a better score. Default: never. */
  readonly patience?: number;
  readonly store?: Store;
  /** Seconds between saves of the last state, which is also saved at the end of a run. Default: 60. */
  readonly saveEvery?: number;
  /** Continues the run of this snapshot. */
  readonly resume?: Snapshot;
  /** Ends the run after the current step, with its state saved. */
  readonly signal?: AbortSignal;
  /** Images in a batch, for `examplesPerSecond`. Default: 1. */
  examplesIn?(batch: Batch): number;
}

/** @throws ConfigError for invalid options */
export function checkOptions<Batch>({
  data,
  epochs,
  minutes,
  accumulate = 1,
  average = 0,
  validateEvery = 1,
  patience,
}: TrainOptions<Batch>): void {
  const positive = { epochs, minutes, accumulate, validateEvery, patience, 'data.length': data.length };
  for (const [name, value] of Object.entries(positive)) {
    const isInteger = name !== 'minutes';
    if (value !== undefined && !(value > 0 && (!isInteger || Number.isInteger(value))))
      throw new ConfigError(
        'training-invalid',
        `train: expected ${name} to be a positive ${isInteger ? 'integer' : 'number'}, got ${value}; ` +
          'correct it.',
      );
  }
  if (epochs === undefined && minutes === undefined)
    throw new ConfigError(
      'training-endless',
      'train: expected epochs or minutes, got neither; set one of them.',
    );
  if (!(average >= 0 && average < 1))
    throw new ConfigError(
      'training-invalid',
      `train: expected the decay of the average in [0, 1), got ${average}; use a value such as 0.999.`,
    );
}

/** Options with their defaults. */
export type Settings<Batch> = ReturnType<typeof withDefaults<Batch>>;

export function withDefaults<Batch>(options: TrainOptions<Batch>) {
  const {
    data,
    optimizer,
    select = allParameters,
    schedule = constantSchedule,
    epochs = Infinity,
    minutes = Infinity,
    accumulate = 1,
    clip = Infinity,
    average,
    recompute = false,
    seed = 0,
    validateEvery = 1,
    patience = Infinity,
    store,
    saveEvery = 60,
    resume,
    signal,
  } = options;
  return {
    data,
    optimizer,
    select,
    schedule,
    epochs,
    minutes,
    accumulate,
    clip,
    average,
    recompute,
    seed,
    validateEvery,
    patience,
    store,
    saveEvery,
    resume,
    signal,
    // Called as methods of the caller's object, which may be an instance of a class.
    loss: (batch: Batch, context: TrainingContext): tf.Scalar => options.loss(batch, context),
    validate: options.validate && (() => options.validate!()),
    examplesIn: (batch: Batch): number => options.examplesIn?.(batch) ?? 1,
  };
}
