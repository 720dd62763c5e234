import * as tf from '@tensorflow/tfjs-core';
import { ConfigError, createRandom, type ForwardContext, type StateDict } from '@pvt/core';
import { averageWeights } from './average.ts';
import { TrainingError } from './errors.ts';
import type { Metrics, Progress, Snapshot, Store, TrainEvent, Validation } from './events.ts';
import { findNotFinite } from './notFinite.ts';
import { globalNorm, type OptimizerOf } from './optimizer.ts';
import { everything, parametersOf, stateOf, type Models, type Selection } from './parameters.ts';
import { constant, type Schedule } from './schedule.ts';
import { loadWeights, readState } from './state.ts';

/** Pass it on to every forward: dropout and drop path draw from its `random`. */
export type TrainingContext = Extract<ForwardContext, { training: true }>;

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
  /** Mean loss of a batch; its tensors are tidied up. Draws all randomness from the context. */
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
  /** Pictures in a batch, for `examplesPerSecond`; a batch counts as one where absent. */
  examplesIn?(batch: Batch): number;
}

function check<Batch>({ data, epochs, minutes, accumulate = 1, average = 0, validateEvery = 1 }: TrainOptions<Batch>): void {
  const positive = { epochs, minutes, accumulate, validateEvery, 'data.length': data.length };
  for (const [name, value] of Object.entries(positive)) {
    if (value !== undefined && !(value > 0 && (name === 'minutes' || Number.isInteger(value)))) throw new ConfigError('training-invalid', `train: expected ${name} to be a positive ${name === 'minutes' ? 'number' : 'integer'}, got ${value}; correct it.`);
  }
  if (epochs === undefined && minutes === undefined) throw new ConfigError('training-endless', 'train: expected epochs or minutes, got neither; say when to stop.');
  if (!(average >= 0 && average < 1)) throw new ConfigError('training-invalid', `train: expected the decay of the average in [0, 1), got ${average}; use a value such as 0.999.`);
}

/** Lets timers, input and painting happen between steps. */
const breathe = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

/**
 * Trains models on data, event by event. All randomness is keyed by seed and step, so the same seed gives the same run
 * and a resumed one continues bit for bit (except that runs by `minutes` depend on the clock). At the end the
 * models hold the last weights, whatever the best were.
 *
 * @throws ConfigError for options that describe no run, CheckpointError for a snapshot of something else, TrainingError
 * `not-finite` where loss or gradients are no numbers any more
 * @example
 * for await (const event of train(model, { data, loss, optimizer: adamW({ learningRate: 1e-3 }), schedule: warmupCosine(), epochs: 5 })) {
 *   if (event.kind === 'step') console.log(event.step, event.loss);
 * }
 */
export async function* train<Batch>(models: Models, options: TrainOptions<Batch>): AsyncGenerator<TrainEvent, void, undefined> {
  check(options);
  const { data, select = everything, schedule = constant, epochs = Infinity, minutes = Infinity, accumulate = 1, clip = Infinity, recompute = false, seed = 0, validateEvery = 1, patience = Infinity, store, saveEvery = 60, resume, signal } = options;
  const state = stateOf(models);
  const parameters = parametersOf(models, select);
  const variables = parameters.map(({ variable }) => variable);
  const trained = new Set(parameters.map(({ path }) => path));
  if (resume !== undefined && resume.progress.seed !== seed) throw new TrainingError('resume-misfit', `train: expected to resume a run of seed ${seed}, got one of seed ${resume.progress.seed}; pass the seed of the run.`);
  if (resume !== undefined) loadWeights(models, resume.weights);

  const optimizer = options.optimizer(parameters);
  const average = options.average === undefined ? undefined : averageWeights(state.filter(({ path, spec }) => trained.has(path) || spec.buffer), options.average);
  const stepsPerEpoch = Math.ceil(data.length / accumulate);
  const losses: number[] = [...(resume?.progress.losses ?? [])];
  const validations: Validation[] = [...(resume?.progress.validations ?? [])];
  let best = resume?.progress.best;
  let step = resume?.progress.step ?? 0;

  const [startSeconds, startStep, started] = [resume?.progress.seconds ?? 0, step, performance.now()];
  const seconds = () => startSeconds + (performance.now() - started) / 1000;
  const progress = () => Math.min(1, Math.max(step / (stepsPerEpoch * epochs), seconds() / 60 / minutes));

  const snapshot = async (): Promise<Snapshot> => {
    const weights = await readState(state);
    const { steps: optimizerSteps, slots } = await optimizer.state();
    const averaged = await average?.state();
    const now: Progress = { seed, step, seconds: seconds(), optimizerSteps, averageSteps: averaged?.steps ?? 0, ...(best && { best }), losses: [...losses], validations: [...validations] };
    return { weights, ...(averaged && { average: new Map([...weights, ...averaged.weights]) as StateDict }), optimizer: slots, progress: now };
  };
  let saved = performance.now();
  async function* save(kind: 'last' | 'best'): AsyncGenerator<TrainEvent> {
    if (store === undefined) return;
    await store.save(kind, await snapshot());
    if (kind === 'last') saved = performance.now();
    yield { kind: 'checkpoint', which: kind, step };
  }

  /** Mean loss and gradients of one batch, the caller's to free. */
  function slopes(batch: Batch, context: TrainingContext): { readonly loss: tf.Scalar; readonly gradients: Map<string, tf.Tensor> } {
    const { value, grads } = tf.variableGrads(() => options.loss(batch, context), variables);
    const entries = parameters.flatMap(({ path, variable }) => (grads[variable.name] ? [[path, grads[variable.name]!] as const] : []));
    return { loss: value, gradients: new Map(entries) };
  }

  try {
    if (resume !== undefined) {
      optimizer.restore({ steps: resume.progress.optimizerSteps, slots: resume.optimizer });
      average?.restore({ steps: resume.progress.averageSteps, weights: resume.average ?? resume.weights });
    }
    let reason: 'finished' | 'time' | 'patience' | 'aborted' | undefined;
    const ending = () => (signal?.aborted ? 'aborted' : step >= stepsPerEpoch * epochs ? 'finished' : seconds() / 60 >= minutes ? 'time' : undefined);

    reason = ending();
    while (reason === undefined) {
      const epoch = Math.floor(step / stepsPerEpoch);
      const batches = iterate(data.batches(epoch));
      try {
        // A resumed epoch goes on where it was: what has been seen is passed over.
        for (let skipped = 0; skipped < (step % stepsPerEpoch) * accumulate; skipped++) await nextOf(batches, data.length);
        do {
          const begun = performance.now();
          const parts = Math.min(accumulate, data.length - (step % stepsPerEpoch) * accumulate);
          const factor = schedule(progress());
          let gradients = new Map<string, tf.Tensor>();
          let [loss, examples] = [0, 0];
          for (let part = 0; part < parts; part++) {
            const batch = await nextOf(batches, data.length);
            const context = (): TrainingContext => ({ training: true, random: createRandom(`${seed}/${step}/${part}`), recompute });
            const found = slopes(batch, context());
            const [value] = await found.loss.data();
            found.loss.dispose();
            if (!Number.isFinite(value)) throw notFinite(step + 1, value!, findNotFinite(state, (observe) => options.loss(batch, { ...context(), observe })));
            loss += value! / parts;
            examples += options.examplesIn?.(batch) ?? 1;
            gradients = merged(gradients, found.gradients, 1 / parts);
          }
          const length = globalNorm(gradients.values());
          const [gradientNorm] = await length.data();
          length.dispose();
          if (!Number.isFinite(gradientNorm)) throw notFinite(step + 1, gradientNorm!, findNotFinite(Array.from(gradients, ([path, tensor]) => ({ path: `the gradient of ${path}`, variable: tensor })).reverse()));
          if (gradientNorm! > clip) gradients = merged(new Map(), gradients, clip / (gradientNorm! + 1e-6));
          optimizer.step(gradients, factor);
          tf.dispose([...gradients.values()]);
          average?.update();
          losses.push(loss);
          step++;
          const [sofar, perStep] = [progress(), (performance.now() - started) / 1000 / (step - startStep)];
          const secondsLeft = Math.max(0, Math.min(minutes * 60 - seconds(), perStep * (stepsPerEpoch * epochs - step)));
          yield { kind: 'step', step, epoch: epoch + 1, progress: sofar, loss, learningRate: optimizer.learningRate * factor, gradientNorm: gradientNorm!, examplesPerSecond: (examples * 1000) / (performance.now() - begun), secondsLeft };
          await breathe();
          reason = ending();
          if (store !== undefined && performance.now() - saved >= 1000 * saveEvery && reason === undefined) yield* save('last');
        } while (reason === undefined && step % stepsPerEpoch !== 0);
      } finally {
        await batches.return?.();
      }
      const epochEnded = step % stepsPerEpoch === 0;
      if (epochEnded) {
        const own = losses.slice(-stepsPerEpoch);
        yield { kind: 'epoch', epoch: epoch + 1, step, loss: own.reduce((a, b) => a + b, 0) / own.length };
      }
      const due = reason === undefined ? (epoch + 1) % validateEvery === 0 : reason !== 'aborted';
      if (options.validate === undefined || !due) continue;
      average?.swap();
      let metrics: Metrics;
      try {
        metrics = await options.validate();
      } finally {
        average?.swap();
      }
      const validation: Validation = { step, epoch: epoch + 1, metrics };
      const better = best === undefined || metrics.score > best.metrics.score;
      validations.push(validation);
      if (better) best = validation;
      yield { kind: 'validation', ...validation, best: better };
      if (better) yield* save('best');
      const since = validations.length - 1 - validations.findIndex((one) => one.step === best!.step);
      if (since >= patience) reason ??= 'patience';
      reason ??= ending();
    }
    yield* save('last');
    yield { kind: 'done', reason, step, seconds: seconds(), ...(best && { best }), snapshot: await snapshot() };
  } finally {
    optimizer.dispose();
    average?.dispose();
  }
}

/** a + b · factor, both freed. */
function merged(a: Map<string, tf.Tensor>, b: Map<string, tf.Tensor>, factor: number): Map<string, tf.Tensor> {
  if (factor === 1 && a.size === 0) return b;
  const sums = new Map(a);
  for (const [path, tensor] of b) {
    const before = a.get(path);
    sums.set(path, tf.tidy(() => (before ? tf.add(before, tf.mul(tensor, factor)) : tf.mul(tensor, factor))));
    tf.dispose([tensor, ...(before ? [before] : [])]);
  }
  return sums;
}

const iterate = <Batch>(batches: AsyncIterable<Batch> | Iterable<Batch>): AsyncIterator<Batch> | Iterator<Batch> =>
  Symbol.asyncIterator in batches ? batches[Symbol.asyncIterator]() : batches[Symbol.iterator]();

async function nextOf<Batch>(batches: AsyncIterator<Batch> | Iterator<Batch>, length: number): Promise<Batch> {
  const { value, done } = await batches.next();
  if (done) throw new TrainingError('data-short', `train: expected ${length} batches per epoch, got fewer; let data.length be what data.batches(epoch) gives.`);
  return value as Batch;
}

const notFinite = (step: number, value: number, where: string): TrainingError =>
  new TrainingError('not-finite', `train: expected finite losses and gradients, got ${value} in step ${step}, first in ${where}; lower the learning rate, clip the gradients or look at the pictures of this step.`, { step, where });
