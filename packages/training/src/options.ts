import type * as tf from '@tensorflow/tfjs-core';
import { ConfigError, type TrainingContext } from '@pvt/core';
import type { Metrics, Snapshot, Store } from './events.ts';
import type { OptimizerOf } from './optimizer.ts';
import type { Selection } from './parameters.ts';
import type { Schedule } from './schedule.ts';

/** Batches that can be had again, epoch for epoch. */
export interface TrainingData<Batch> {
  /** Batches per epoch. */
  readonly length: number;
  /**
   * The batches of an epoch, counted from 0: always the same for the same epoch. The loop is done with a batch when it
   * asks for the next.
   */
  batches(epoch: number): AsyncIterable<Batch> | Iterable<Batch>;
}

export interface TrainOptions<Batch> {
  readonly data: TrainingData<Batch>;
  /** Mean loss of a batch; its tensors are tidied up. Pass the context on to every forward: all randomness comes from it. */
  loss(batch: Batch, context: TrainingContext): tf.Scalar;
  readonly optimizer: OptimizerOf;
  /** What trains; {@link everything} where absent. */
  readonly select?: Selection;
  /** {@link constant} where absent. */
  readonly schedule?: Schedule;
  /** Ends the run after so many passes over the data; one of `epochs` and `minutes` is needed. */
  readonly epochs?: number;
  /** Ends the run after so much time, resumed runs counted together; the schedule then goes by time. */
  readonly minutes?: number;
  /** Batches per step, whose gradients are averaged. */
  readonly accumulate?: number;
  /** Gradients longer than this, all taken together, are scaled down to it. */
  readonly clip?: number;
  /** Decay of a moving average of the weights, such as 0.999; validation and the best checkpoint use the average. */
  readonly average?: number;
  /** Recompute blocks in the backward pass instead of keeping what they computed: slower, in less memory. */
  readonly recompute?: boolean;
  readonly seed?: number;
  /** Measures the models as they are at the call. */
  validate?(): Promise<Metrics> | Metrics;
  /** Epochs between validations; the end of a run is always validated. */
  readonly validateEvery?: number;
  /** Ends the run after so many validations without a better score. */
  readonly patience?: number;
  readonly store?: Store;
  /** Seconds between saves of the last state, which is also saved at the end of a run. */
  readonly saveEvery?: number;
  readonly resume?: Snapshot;
  /** Ends the run after the current step, with its state saved. */
  readonly signal?: AbortSignal;
  /** Images in a batch, for `examplesPerSecond`; a batch counts as one where absent. */
  examplesIn?(batch: Batch): number;
}

/** @throws ConfigError for options that describe no run */
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
    if (value !== undefined && !(value > 0 && (name === 'minutes' || Number.isInteger(value))))
      throw new ConfigError(
        'training-invalid',
        `train: expected ${name} to be a positive ${name === 'minutes' ? 'number' : 'integer'}, got ${value}; correct it.`,
      );
  }
  if (epochs === undefined && minutes === undefined)
    throw new ConfigError(
      'training-endless',
      'train: expected epochs or minutes, got neither; say when to stop.',
    );
  if (!(average >= 0 && average < 1))
    throw new ConfigError(
      'training-invalid',
      `train: expected the decay of the average in [0, 1), got ${average}; use a value such as 0.999.`,
    );
}
