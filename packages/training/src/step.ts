import * as tf from '@tensorflow/tfjs-core';
import { createRandom, type TrainingContext } from '@pvt/core';
import { valueAndGradients } from './backward.ts';
import { TrainingError } from './errors.ts';
import type { StepEvent } from './events.ts';
import { findNonFinite, firstNonFiniteGradient } from './nonFinite.ts';
import { globalNorm } from './optimizer.ts';
import { parametersOf } from './parameters.ts';
import { recomputed } from './recompute.ts';
import { progressOf, secondsOf, type TrainingRun } from './run.ts';

/** Gradients by the path of their parameter. */
type Gradients = Map<string, Float32Array>;

/**
 * One optimizer step: forward and backward of `accumulate` batches, clipping, update, average.
 *
 * @param nextBatch called once per batch
 * @throws TrainingError `not-finite` if the loss or a gradient is NaN or infinite
 */
export async function trainStep<Batch>(
  run: TrainingRun<Batch>,
  nextBatch: () => Promise<Batch>,
): Promise<StepEvent> {
  const { optimizer, average, settings } = run;
  const start = performance.now();
  const epoch = Math.floor(run.step / run.stepsPerEpoch) + 1;
  const factor = settings.schedule(progressOf(run));

  const { loss, gradients, examples } = await accumulateGradients(run, nextBatch);
  const gradientNorm = globalNorm(gradients.values());
  if (!Number.isFinite(gradientNorm))
    throw nonFiniteError(run.step + 1, gradientNorm, firstNonFiniteGradient(gradients));
  clipGradients(gradients, gradientNorm, settings.clip);
  await optimizer.step(gradients, factor);
  await average?.update();
  run.losses.push(loss);
  run.step++;

  return {
    kind: 'step',
    step: run.step,
    epoch,
    progress: progressOf(run),
    loss,
    learningRate: optimizer.learningRate * factor,
    gradientNorm,
    examplesPerSecond: (examples * 1000) / (performance.now() - start),
    secondsLeft: secondsLeft(run),
  };
}

/**
 * Mean loss and gradients of the batches of a step. The last step of an epoch may have fewer than
 * `accumulate`.
 */
async function accumulateGradients<Batch>(
  run: TrainingRun<Batch>,
  nextBatch: () => Promise<Batch>,
): Promise<{ readonly loss: number; readonly gradients: Gradients; readonly examples: number }> {
  const { data, accumulate, recompute, seed, examplesIn } = run.settings;
  const parts = Math.min(accumulate, data.length - (run.step % run.stepsPerEpoch) * accumulate);
  const gradients: Gradients = new Map();
  let [loss, examples] = [0, 0];
  for (let part = 0; part < parts; part++) {
    const batch = await nextBatch();
    // Made anew for every forward, so that each draws the same numbers.
    const context = (): TrainingContext => ({
      training: true,
      random: createRandom(`${seed}/${run.step}/${part}`),
      ...(recompute && { recompute: recomputed }),
    });
    const found = await gradientsOf(run, batch, context());
    if (!Number.isFinite(found.loss))
      throw nonFiniteError(run.step + 1, found.loss, locateNonFinite(run, batch, context()));
    loss += found.loss / parts;
    examples += examplesIn(batch);
    addScaled(gradients, found.gradients, 1 / parts);
  }
  return { loss, gradients, examples };
}

/** Loss and gradients of one batch. */
async function gradientsOf<Batch>(
  { settings, parameters }: TrainingRun<Batch>,
  batch: Batch,
  context: TrainingContext,
): Promise<{ readonly loss: number; readonly gradients: Gradients }> {
  const { value, gradients } = valueAndGradients(
    () => settings.loss(batch, context),
    parameters.map(({ variable }) => variable),
  );
  const [loss, ...arrays] = await Promise.all([value, ...gradients].map((tensor) => tensor?.data()));
  tf.dispose([value, ...gradients.filter((gradient) => gradient !== undefined)]);
  const byPath: Gradients = new Map();
  for (const [i, { path }] of parameters.entries()) {
    const values = arrays[i] as Float32Array | undefined;
    // A copy, because the cpu backend lends its arrays, the same one for equal gradients.
    if (values !== undefined) byPath.set(path, values.slice());
  }
  return { loss: loss![0]!, gradients: byPath };
}

/** The first parameter or layer with NaN or Infinity, found by repeating the forward. */
const locateNonFinite = <Batch>(
  { models, settings }: TrainingRun<Batch>,
  batch: Batch,
  context: TrainingContext,
): string => findNonFinite(parametersOf(models), (observe) => settings.loss(batch, { ...context, observe }));

function clipGradients(gradients: Gradients, norm: number, clip: number): void {
  if (norm <= clip) return;
  for (const gradient of gradients.values()) scale(gradient, clip / (norm + 1e-6));
}

/** An estimate, from the mean duration of this process's steps. */
function secondsLeft<Batch>(run: TrainingRun<Batch>): number {
  const { epochs, minutes } = run.settings;
  const perStep = (performance.now() - run.startTime) / 1000 / (run.step - run.startStep);
  return Math.max(
    0,
    Math.min(minutes * 60 - secondsOf(run), perStep * (run.stepsPerEpoch * epochs - run.step)),
  );
}

function scale(values: Float32Array, factor: number): void {
  for (let i = 0; i < values.length; i++) values[i]! *= factor;
}

/** Adds b · factor to a. Arrays of b may end up in a. */
function addScaled(a: Gradients, b: Gradients, factor: number): void {
  for (const [path, values] of b) {
    const sum = a.get(path);
    if (factor !== 1) scale(values, factor);
    if (sum === undefined) a.set(path, values);
    else for (let i = 0; i < sum.length; i++) sum[i]! += values[i]!;
  }
}

const nonFiniteError = (step: number, value: number, where: string): TrainingError =>
  new TrainingError(
    'not-finite',
    `train: expected finite losses and gradients, got ${value} in step ${step}, first in ${where}; ` +
      'lower the learning rate, clip the gradients or check the images of this step.',
    { step, where },
  );
