import type { StateDict } from '@pvt/core';

/** What a validation measured. The checkpoint with the highest `score` is the best. */
export interface Metrics {
  readonly score: number;
  readonly [name: string]: number;
}

/** How far a run is: plain data that survives JSON without loss. */
export interface Progress {
  readonly seed: number;
  /** Optimizer steps done. */
  readonly step: number;
  /** Seconds spent so far, validation included. */
  readonly seconds: number;
  readonly optimizerSteps: number;
  readonly averageSteps: number;
  readonly best?: Validation;
  /** The loss of every step. */
  readonly losses: readonly number[];
  readonly validations: readonly Validation[];
}

/** One validation: the steps and epochs done by then, and what it measured. */
export interface Validation {
  readonly step: number;
  readonly epoch: number;
  readonly metrics: Metrics;
}

/** Everything that a run needs to continue bit for bit. Values are in checkpoint layout. */
export interface Snapshot {
  /** All parameters and buffers of the models, frozen ones included. */
  readonly weights: StateDict;
  /**
   * The same with the moving average in place of the weights, if there is one; this is what was validated.
   */
  readonly average?: StateDict;
  /** The optimizer's slots, by `slot/path`. */
  readonly optimizer: StateDict;
  readonly progress: Progress;
}

/** Where snapshots are saved. */
export interface Store {
  save(kind: 'last' | 'best', snapshot: Snapshot): Promise<void> | void;
}

/** One optimizer step. */
export interface StepEvent {
  readonly kind: 'step';
  /** Counted from 1. */
  readonly step: number;
  /** Counted from 1. */
  readonly epoch: number;
  /** Share of the run that is done, in [0, 1]. */
  readonly progress: number;
  readonly loss: number;
  readonly learningRate: number;
  /** Norm of all gradients together, before clipping. */
  readonly gradientNorm: number;
  readonly examplesPerSecond: number;
  /** An estimate from the steps so far. */
  readonly secondsLeft: number;
}

/** All batches of an epoch are done. */
export interface EpochEvent {
  readonly kind: 'epoch';
  /** Counted from 1. */
  readonly epoch: number;
  readonly step: number;
  /** Mean over the epoch's steps. */
  readonly loss: number;
}

export interface ValidationEvent extends Validation {
  readonly kind: 'validation';
  /** Whether it is the best so far. */
  readonly best: boolean;
}

/** A snapshot has been saved. */
export interface CheckpointEvent {
  readonly kind: 'checkpoint';
  readonly which: 'last' | 'best';
  readonly step: number;
}

/**
 * The end: all epochs are done, the time is up, no score was better for long enough, or the signal aborted.
 */
export interface DoneEvent {
  readonly kind: 'done';
  readonly reason: 'finished' | 'time' | 'patience' | 'aborted';
  readonly step: number;
  readonly seconds: number;
  readonly best?: Validation;
  readonly snapshot: Snapshot;
}

export type TrainEvent = StepEvent | EpochEvent | ValidationEvent | CheckpointEvent | DoneEvent;
