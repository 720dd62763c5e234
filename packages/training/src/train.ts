import * as tf from '@tensorflow/tfjs-core';
import { createRandom, type StateDict, type TrainingContext } from '@pvt/core';
import { averageWeights } from './average.ts';
import { valueAndGradients } from './backward.ts';
import { TrainingError } from './errors.ts';
import type { DoneEvent, Metrics, Progress, Snapshot, TrainEvent, Validation } from './events.ts';
import { findNotFinite, firstNonFiniteGradient } from './notFinite.ts';
import { globalNorm } from './optimizer.ts';
import { checkOptions, type TrainOptions } from './options.ts';
import { everything, parametersOf, stateOf, type Models } from './parameters.ts';
import { recomputed } from './recompute.ts';
import { constant } from './schedule.ts';
import { loadWeights, readState } from './state.ts';

/** Lets timers, input and painting happen between steps. */
const yieldToEventLoop = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

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
export async function* train<Batch>(
  models: Models,
  options: TrainOptions<Batch>,
): AsyncGenerator<TrainEvent, void, undefined> {
  checkOptions(options);
  const {
    data,
    select = everything,
    schedule = constant,
    epochs = Infinity,
    minutes = Infinity,
    accumulate = 1,
    clip = Infinity,
    recompute = false,
    seed = 0,
    validateEvery = 1,
    patience = Infinity,
    store,
    saveEvery = 60,
    resume,
    signal,
  } = options;
  const state = stateOf(models);
  const parameters = parametersOf(models, select);
  const variables = parameters.map(({ variable }) => variable);
  const trained = new Set(parameters.map(({ path }) => path));
  if (resume !== undefined && resume.progress.seed !== seed)
    throw new TrainingError(
      'resume-misfit',
      `train: expected to resume a run of seed ${seed}, got one of seed ${resume.progress.seed}; pass the seed of the run.`,
    );
  if (resume !== undefined) loadWeights(models, resume.weights);

  const optimizer = options.optimizer(parameters);
  const average =
    options.average === undefined
      ? undefined
      : await averageWeights(
          state.filter(({ path, spec }) => trained.has(path) || spec.buffer),
          options.average,
        );
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
    const { steps: optimizerSteps, slots } = optimizer.state();
    const averaged = average?.state();
    const now: Progress = {
      seed,
      step,
      seconds: seconds(),
      optimizerSteps,
      averageSteps: averaged?.steps ?? 0,
      ...(best && { best }),
      losses: [...losses],
      validations: [...validations],
    };
    return {
      weights,
      ...(averaged && { average: new Map([...weights, ...averaged.weights]) as StateDict }),
      optimizer: slots,
      progress: now,
    };
  };
  let saved = performance.now();
  async function* save(kind: 'last' | 'best'): AsyncGenerator<TrainEvent> {
    if (store === undefined) return;
    await store.save(kind, await snapshot());
    if (kind === 'last') saved = performance.now();
    yield { kind: 'checkpoint', which: kind, step };
  }

  const saveDue = () => store !== undefined && performance.now() - saved >= 1000 * saveEvery;

  /** Validates the average, or the weights where there is none, after an epoch whose turn it is and at the end. */
  async function* validation(end: boolean): AsyncGenerator<TrainEvent> {
    const epoch = Math.ceil(step / stepsPerEpoch);
    const due = end || (step > 0 && step % stepsPerEpoch === 0 && epoch % validateEvery === 0);
    if (options.validate === undefined || !due || validations.some((one) => one.step === step)) return;
    await average?.swap();
    let metrics: Metrics;
    try {
      metrics = await options.validate();
    } finally {
      await average?.swap();
    }
    const found: Validation = { step, epoch, metrics };
    const better = best === undefined || metrics.score > best.metrics.score;
    validations.push(found);
    if (better) best = found;
    yield { kind: 'validation', ...found, best: better };
    if (better) yield* save('best');
  }
  const impatient = () =>
    validations.length - 1 - validations.findIndex((one) => one.step === best?.step) >= patience;

  /** Mean loss and gradients of one batch. */
  async function slopes(
    batch: Batch,
    context: TrainingContext,
  ): Promise<{ readonly loss: number; readonly gradients: Map<string, Float32Array> }> {
    const { value, gradients } = valueAndGradients(() => options.loss(batch, context), variables);
    // Copies, because the cpu backend lends its arrays, the same one for equal gradients.
    const [loss, ...arrays] = await Promise.all([value, ...gradients].map((tensor) => tensor?.data()));
    tf.dispose([value, ...gradients.filter((gradient) => gradient !== undefined)]);
    return {
      loss: loss![0]!,
      gradients: new Map(
        parameters.flatMap(({ path }, i) =>
          arrays[i] === undefined ? [] : [[path, (arrays[i] as Float32Array).slice()] as const],
        ),
      ),
    };
  }

  if (resume !== undefined) {
    optimizer.restore({ steps: resume.progress.optimizerSteps, slots: resume.optimizer });
    average?.restore({ steps: resume.progress.averageSteps, weights: resume.average ?? resume.weights });
  }
  const ending = (): DoneEvent['reason'] | undefined =>
    signal?.aborted
      ? 'aborted'
      : step >= stepsPerEpoch * epochs
        ? 'finished'
        : seconds() / 60 >= minutes
          ? 'time'
          : undefined;

  let reason = impatient() ? 'patience' : ending();
  // A run that was stopped right after an epoch has not validated it yet.
  if (reason === undefined) yield* validation(false);
  while (reason === undefined) {
    const epoch = Math.floor(step / stepsPerEpoch);
    const batches = iterate(data.batches(epoch));
    try {
      // A resumed epoch goes on where it was: what has been seen is passed over.
      for (let skipped = 0; skipped < (step % stepsPerEpoch) * accumulate; skipped++)
        await nextOf(batches, data.length);
      for (;;) {
        const begun = performance.now();
        const parts = Math.min(accumulate, data.length - (step % stepsPerEpoch) * accumulate);
        const factor = schedule(progress());
        const gradients = new Map<string, Float32Array>();
        let [loss, examples] = [0, 0];
        for (let part = 0; part < parts; part++) {
          const batch = await nextOf(batches, data.length);
          const context = (): TrainingContext => ({
            training: true,
            random: createRandom(`${seed}/${step}/${part}`),
            ...(recompute && { recompute: recomputed }),
          });
          const found = await slopes(batch, context());
          if (!Number.isFinite(found.loss))
            throw notFinite(
              step + 1,
              found.loss,
              findNotFinite(parametersOf(models), (observe) =>
                options.loss(batch, { ...context(), observe }),
              ),
            );
          loss += found.loss / parts;
          examples += options.examplesIn?.(batch) ?? 1;
          addScaled(gradients, found.gradients, 1 / parts);
        }
        const gradientNorm = globalNorm(gradients.values());
        if (!Number.isFinite(gradientNorm))
          throw notFinite(step + 1, gradientNorm, firstNonFiniteGradient(gradients));
        if (gradientNorm > clip)
          for (const gradient of gradients.values()) scale(gradient, clip / (gradientNorm + 1e-6));
        await optimizer.step(gradients, factor);
        await average?.update();
        losses.push(loss);
        step++;
        const [sofar, perStep] = [progress(), (performance.now() - started) / 1000 / (step - startStep)];
        const secondsLeft = Math.max(
          0,
          Math.min(minutes * 60 - seconds(), perStep * (stepsPerEpoch * epochs - step)),
        );
        yield {
          kind: 'step',
          step,
          epoch: epoch + 1,
          progress: sofar,
          loss,
          learningRate: optimizer.learningRate * factor,
          gradientNorm,
          examplesPerSecond: (examples * 1000) / (performance.now() - begun),
          secondsLeft,
        };
        await yieldToEventLoop();
        reason = ending();
        if (reason !== undefined || step % stepsPerEpoch === 0) break;
        if (saveDue()) yield* save('last');
      }
    } finally {
      await batches.return?.();
    }
    const epochEnded = step % stepsPerEpoch === 0;
    if (epochEnded) {
      const own = losses.slice(-stepsPerEpoch);
      yield { kind: 'epoch', epoch: epoch + 1, step, loss: own.reduce((a, b) => a + b, 0) / own.length };
    }
    if (reason !== 'aborted') yield* validation(reason !== undefined);
    reason ??= impatient() ? 'patience' : ending();
    // Not before the validation, which a resumed run would miss.
    if (reason === undefined && saveDue()) yield* save('last');
  }
  yield* save('last');
  yield { kind: 'done', reason, step, seconds: seconds(), ...(best && { best }), snapshot: await snapshot() };
}

function scale(values: Float32Array, factor: number): void {
  for (let i = 0; i < values.length; i++) values[i]! *= factor;
}

/** Adds b · factor to a; what a does not have yet it gets from b. */
function addScaled(a: Map<string, Float32Array>, b: ReadonlyMap<string, Float32Array>, factor: number): void {
  for (const [path, values] of b) {
    const sum = a.get(path);
    if (factor !== 1) scale(values, factor);
    if (sum === undefined) a.set(path, values);
    else for (let i = 0; i < sum.length; i++) sum[i]! += values[i]!;
  }
}

const iterate = <Batch>(
  batches: AsyncIterable<Batch> | Iterable<Batch>,
): AsyncIterator<Batch> | Iterator<Batch> =>
  Symbol.asyncIterator in batches ? batches[Symbol.asyncIterator]() : batches[Symbol.iterator]();

async function nextOf<Batch>(
  batches: AsyncIterator<Batch> | Iterator<Batch>,
  length: number,
): Promise<Batch> {
  const { value, done } = await batches.next();
  if (done)
    throw new TrainingError(
      'data-short',
      `train: expected ${length} batches per epoch, got fewer; let data.length be what data.batches(epoch) gives.`,
    );
  return value as Batch;
}

const notFinite = (step: number, value: number, where: string): TrainingError =>
  new TrainingError(
    'not-finite',
    `train: expected finite losses and gradients, got ${value} in step ${step}, first in ${where}; lower the learning rate, clip the gradients or look at the images of this step.`,
    { step, where },
  );
