import { TrainingError } from './errors.ts';
import type { DoneEvent, EpochEvent, Metrics, TrainEvent, Validation } from './events.ts';
import { checkOptions, type TrainOptions } from './options.ts';
import type { Models } from './parameters.ts';
import {
  atEpochEnd,
  endReason,
  isSaveDue,
  patienceExhausted,
  secondsOf,
  snapshotOf,
  startRun,
  type TrainingRun,
} from './run.ts';
import { trainStep } from './step.ts';

/**
 * Trains models on data, event by event. All randomness is keyed by seed and step, so the same seed gives the
 * same run, and a resumed run continues bit for bit; only runs by `minutes` depend on the clock. At the end
 * the models hold the last weights, not the best.
 *
 * @throws ConfigError for invalid options, CheckpointError for a snapshot of another model, TrainingError
 * `not-finite` if the loss or a gradient is NaN or infinite
 * @example
 * const optimizer = adamW({ learningRate: 1e-3 });
 * const options = { data, loss, optimizer, schedule: warmupCosine(), epochs: 5 };
 * for await (const event of train(model, options)) {
 *   if (event.kind === 'step') console.log(event.step, event.loss);
 * }
 */
export async function* train<Batch>(
  models: Models,
  options: TrainOptions<Batch>,
): AsyncGenerator<TrainEvent, void, undefined> {
  checkOptions(options);
  const run = await startRun(models, options);
  let reason = patienceExhausted(run) ? 'patience' : endReason(run);
  // A run that was stopped right after an epoch has not validated it yet.
  if (reason === undefined) yield* validate(run, { atEnd: false });

  while (reason === undefined) {
    reason = yield* trainEpoch(run);
    if (atEpochEnd(run)) yield epochEvent(run);
    if (reason !== 'aborted') yield* validate(run, { atEnd: reason !== undefined });
    reason ??= patienceExhausted(run) ? 'patience' : endReason(run);
    // Only after the validation, because a run resumed from here must not repeat it.
    if (reason === undefined && isSaveDue(run)) yield* saveCheckpoint(run, 'last');
  }

  yield* saveCheckpoint(run, 'last');
  yield {
    kind: 'done',
    reason,
    step: run.step,
    seconds: secondsOf(run),
    ...(run.best && { best: run.best }),
    snapshot: await snapshotOf(run),
  };
}

/** The steps of an epoch, or what is left of it in a resumed run; returns why the run ends, if it does. */
async function* trainEpoch<Batch>(
  run: TrainingRun<Batch>,
): AsyncGenerator<TrainEvent, DoneEvent['reason'] | undefined, undefined> {
  const { data, accumulate } = run.settings;
  const batches = iterate(data.batches(Math.floor(run.step / run.stepsPerEpoch)));
  const nextBatch = () => nextOf(batches, data.length);
  try {
    const seen = (run.step % run.stepsPerEpoch) * accumulate;
    for (let skipped = 0; skipped < seen; skipped++) await nextBatch();
    for (;;) {
      yield await trainStep(run, nextBatch);
      await yieldToEventLoop();
      const reason = endReason(run);
      if (reason !== undefined || atEpochEnd(run)) return reason;
      if (isSaveDue(run)) yield* saveCheckpoint(run, 'last');
    }
  } finally {
    await batches.return?.();
  }
}

function epochEvent<Batch>({ losses, step, stepsPerEpoch }: TrainingRun<Batch>): EpochEvent {
  const ofEpoch = losses.slice(-stepsPerEpoch);
  const loss = ofEpoch.reduce((sum, one) => sum + one, 0) / ofEpoch.length;
  return { kind: 'epoch', epoch: step / stepsPerEpoch, step, loss };
}

/**
 * Validates the average, or the weights if there is none, after every `validateEvery`-th epoch and at the
 * end.
 */
async function* validate<Batch>(
  run: TrainingRun<Batch>,
  { atEnd }: { readonly atEnd: boolean },
): AsyncGenerator<TrainEvent> {
  const { step, stepsPerEpoch, validations, average, settings } = run;
  const epoch = Math.ceil(step / stepsPerEpoch);
  const due = atEnd || (step > 0 && atEpochEnd(run) && epoch % settings.validateEvery === 0);
  const done = validations.some((one) => one.step === step);
  if (settings.validate === undefined || !due || done) return;
  await average?.swap();
  let metrics: Metrics;
  try {
    metrics = await settings.validate();
  } finally {
    await average?.swap();
  }
  const validation: Validation = { step, epoch, metrics };
  const isBest = run.best === undefined || metrics.score > run.best.metrics.score;
  validations.push(validation);
  if (isBest) run.best = validation;
  yield { kind: 'validation', ...validation, best: isBest };
  if (isBest) yield* saveCheckpoint(run, 'best');
}

async function* saveCheckpoint<Batch>(
  run: TrainingRun<Batch>,
  which: 'last' | 'best',
): AsyncGenerator<TrainEvent> {
  const { store } = run.settings;
  if (store === undefined) return;
  await store.save(which, await snapshotOf(run));
  if (which === 'last') run.lastSaveTime = performance.now();
  yield { kind: 'checkpoint', which, step: run.step };
}

/** Lets timers, input and painting happen between steps. */
const yieldToEventLoop = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

type BatchIterator<Batch> = AsyncIterator<Batch> | Iterator<Batch>;

const iterate = <Batch>(batches: AsyncIterable<Batch> | Iterable<Batch>): BatchIterator<Batch> =>
  Symbol.asyncIterator in batches ? batches[Symbol.asyncIterator]() : batches[Symbol.iterator]();

async function nextOf<Batch>(batches: BatchIterator<Batch>, length: number): Promise<Batch> {
  const { value, done } = await batches.next();
  if (done)
    throw new TrainingError(
      'data-short',
      `train: expected ${length} batches per epoch, got fewer; ` +
        'set data.length to the number that data.batches(epoch) gives.',
    );
  return value as Batch;
}
