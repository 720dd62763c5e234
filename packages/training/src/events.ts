import type { StateDict } from '@pvt/core';

/** What a validation measured; `score` chooses the best checkpoint, higher is better. */
export interface Metrics {
  readonly score: number;
  readonly [name: string]: number;
}

/** How far a run is: plain data that JSON keeps without loss. */
export interface Progress {
  readonly seed: number;
  /** Optimiser steps done. */
  readonly step: number;
  /** Seconds spent so far, validation included. */
  readonly seconds: number;
  readonly optimizerSteps: number;
  readonly averageSteps: number;
  readonly best?: Validation;
  /** Of every step. */
  readonly losses: readonly number[];
  readonly validations: readonly Validation[];
}

/** One validation: after how many steps and epochs, and what it measured. */
export interface Validation {
  readonly step: number;
  readonly epoch: number;
  readonly metrics: Metrics;
}

/** Everything that a run needs to continue bit for bit; values are in checkpoint layout. */
export interface Snapshot {
  /** All parameters and buffers of the models, the frozen ones too. */
  readonly weights: StateDict;
  /** The same with the moving average where there is one: what was validated. */
  readonly average?: StateDict;
  /** The optimiser's slots, by `slot/path`. */
  readonly optimizer: StateDict;
  readonly progress: Progress;
}

/** Where snapshots go. */
export interface Store {
  save(kind: 'last' | 'best', snapshot: Snapshot): Promise<void> | void;
}

/** One optimiser step. */
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
  /** Length of all gradients before clipping. */
  readonly gradientNorm: number;
  readonly examplesPerSecond: number;
  /** Undefined until it can be told. */
  readonly secondsLeft: number;
}

/** All batches of an epoch have been seen. */
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

/** A snapshot has been handed to the store. */
export interface CheckpointEvent {
  readonly kind: 'checkpoint';
  readonly which: 'last' | 'best';
  readonly step: number;
}

/** The end: all epochs done, the time spent, no better score for long enough, or asked to stop. */
export interface DoneEvent {
  readonly kind: 'done';
  readonly reason: 'finished' | 'time' | 'patience' | 'aborted';
  readonly step: number;
  readonly seconds: number;
  readonly best?: Validation;
  readonly snapshot: Snapshot;
}

export type TrainEvent = StepEvent | EpochEvent | ValidationEvent | CheckpointEvent | DoneEvent;
