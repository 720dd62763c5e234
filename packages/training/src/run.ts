import type { StateDict } from '@pvt/core';
import { averageWeights, type WeightAverage } from './average.ts';
import { TrainingError } from './errors.ts';
import type { DoneEvent, Progress, Snapshot, Validation } from './events.ts';
import type { Optimizer } from './optimizer.ts';
import { withDefaults, type Settings, type TrainOptions } from './options.ts';
import { parametersOf, stateEntries, type Models, type Parameter } from './parameters.ts';
import { loadWeights, readStateDict } from './state.ts';

/** The state of a run, which its steps, validations and checkpoints change. */
export interface TrainingRun<Batch> {
  readonly models: Models;
  readonly settings: Settings<Batch>;
  /** All parameters and buffers of the models. */
  readonly state: readonly Parameter[];
  /** The parameters that train. */
  readonly parameters: readonly Parameter[];
  readonly optimizer: Optimizer;
  /** Moving average of the weights, if one is asked for. */
  readonly average: WeightAverage | undefined;
  readonly stepsPerEpoch: number;
  /** Optimizer steps done, resumed ones included. */
  step: number;
  readonly losses: number[];
  readonly validations: Validation[];
  best: Validation | undefined;
  /** When this process started or resumed the run, in milliseconds. */
  readonly startTime: number;
  /** Steps and seconds that were done by then. */
  readonly startStep: number;
  readonly startSeconds: number;
  /** When the last state was saved, in milliseconds. */
  lastSaveTime: number;
}

/**
 * A new run, or a resumed one where its snapshot was taken.
 *
 * @throws TrainingError `resume-misfit` for a snapshot of another seed, CheckpointError for one of another
 * model
 */
export async function startRun<Batch>(
  models: Models,
  options: TrainOptions<Batch>,
): Promise<TrainingRun<Batch>> {
  const settings = withDefaults(options);
  const { data, select, accumulate, seed, resume } = settings;
  const state = stateEntries(models);
  const parameters = parametersOf(models, select);
  if (resume !== undefined && resume.progress.seed !== seed)
    throw new TrainingError(
      'resume-misfit',
      `train: expected to resume a run of seed ${seed}, got one of seed ${resume.progress.seed}; ` +
        'pass the seed of the run.',
    );
  if (resume !== undefined) loadWeights(models, resume.weights);
  const optimizer = settings.optimizer(parameters);
  const average =
    settings.average === undefined
      ? undefined
      : await averageWeights(averagedEntries(state, parameters), settings.average);
  const progress = resume?.progress;
  const run: TrainingRun<Batch> = {
    models,
    settings,
    state,
    parameters,
    optimizer,
    average,
    stepsPerEpoch: Math.ceil(data.length / accumulate),
    step: progress?.step ?? 0,
    losses: [...(progress?.losses ?? [])],
    validations: [...(progress?.validations ?? [])],
    best: progress?.best,
    startTime: performance.now(),
    startStep: progress?.step ?? 0,
    startSeconds: progress?.seconds ?? 0,
    lastSaveTime: performance.now(),
  };
  if (resume !== undefined) {
    optimizer.restore({ steps: resume.progress.optimizerSteps, slots: resume.optimizer });
    average?.restore({ steps: resume.progress.averageSteps, weights: resume.average ?? resume.weights });
  }
  return run;
}

/** Parameters that train, and all buffers, in the models' order. */
function averagedEntries(state: readonly Parameter[], parameters: readonly Parameter[]): Parameter[] {
  const trained = new Set(parameters.map(({ path }) => path));
  return state.filter(({ path, spec }) => trained.has(path) || spec.buffer);
}

/** Seconds spent on the run, resumed ones included. */
export const secondsOf = <Batch>({ startSeconds, startTime }: TrainingRun<Batch>): number =>
  startSeconds + (performance.now() - startTime) / 1000;

/** Share of the run that is done, by steps or by time, whichever is further. */
export function progressOf<Batch>(run: TrainingRun<Batch>): number {
  const { epochs, minutes } = run.settings;
  return Math.min(1, Math.max(run.step / (run.stepsPerEpoch * epochs), secondsOf(run) / 60 / minutes));
}

export const atEpochEnd = <Batch>({ step, stepsPerEpoch }: TrainingRun<Batch>): boolean =>
  step % stepsPerEpoch === 0;

/** Why the run ends now, other than for patience; undefined if it goes on. */
export function endReason<Batch>(run: TrainingRun<Batch>): DoneEvent['reason'] | undefined {
  const { signal, epochs, minutes } = run.settings;
  if (signal?.aborted) return 'aborted';
  if (run.step >= run.stepsPerEpoch * epochs) return 'finished';
  return secondsOf(run) / 60 >= minutes ? 'time' : undefined;
}

/** Whether too many validations in a row were no better than the best. */
export function patienceExhausted<Batch>({ validations, best, settings }: TrainingRun<Batch>): boolean {
  const sinceBest = validations.length - 1 - validations.findIndex(({ step }) => step === best?.step);
  return sinceBest >= settings.patience;
}

export const isSaveDue = <Batch>({ settings, lastSaveTime }: TrainingRun<Batch>): boolean =>
  settings.store !== undefined && performance.now() - lastSaveTime >= 1000 * settings.saveEvery;

/** Everything that a later process needs to continue the run. */
export async function snapshotOf<Batch>(run: TrainingRun<Batch>): Promise<Snapshot> {
  const weights = await readStateDict(run.state);
  const { steps: optimizerSteps, slots } = run.optimizer.state();
  const averaged = run.average?.state();
  const progress: Progress = {
    seed: run.settings.seed,
    step: run.step,
    seconds: secondsOf(run),
    optimizerSteps,
    averageSteps: averaged?.steps ?? 0,
    ...(run.best && { best: run.best }),
    losses: [...run.losses],
    validations: [...run.validations],
  };
  const average: StateDict | undefined = averaged && new Map([...weights, ...averaged.weights]);
  return { weights, ...(average && { average }), optimizer: slots, progress };
}
