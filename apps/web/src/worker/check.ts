import { cost, pvtConfig } from '@pvt/core';
import { generate } from '@pvt/golden/generator.ts';
import { fromBase64, sourceOf } from '@pvt/golden/golden.ts';
import { createPvtClassifier, type PvtClassifier } from '@pvt/heads';
import * as tf from '@tensorflow/tfjs-core';
import type { Timing } from '../protocol.ts';
import { compileShaders } from './backends.ts';
import { golden } from './golden.ts';

/** Fifty times the error of float32 on these logits, a tenth of the error of half precision. */
export const tolerance = 1e-3;

/** Side of the large probe's input in pixels. */
const largeSide = 320;
/** Passes that are timed after the one that compiles; the fastest counts. */
const timedPasses = 3;
/** Milliseconds after which a pass is not repeated: a slow backend needs no exact timing. */
const slowPass = 500;

export interface Probe {
  /** Largest absolute difference from the logits of the official code in float64. */
  readonly error: number;
  readonly small: Timing;
  /** Times an input of 320x320. */
  timeLarge(): Promise<Timing>;
  dispose(): void;
}

/**
 * Runs a small model on the current backend and compares its logits with those of the official code. Weights
 * and input are generated from a seed, in the same way in both implementations.
 */
export async function createProbe(): Promise<Probe> {
  const config = pvtConfig(golden.config);
  const model = createPvtClassifier(config, sourceOf(golden, config));
  const input = goldenInput();
  try {
    await compileShaders(() => model.forward(input).logits.dispose());
    const error = maxError(await logitsOf(model, input), fromBase64(golden.logits));
    return {
      error,
      small: await fastestPass(model, input),
      timeLarge: () => timeLarge(model),
      dispose: () => model.dispose(),
    };
  } finally {
    input.dispose();
  }
}

/** The generated input [2, 64, 64, 3]; it is generated in PyTorch's layout. */
function goldenInput(): tf.Tensor4D {
  const values = generate(golden.seed, 'input', golden.input, new Map());
  return tf.tidy(() => tf.transpose(tf.tensor4d(values, [...golden.input]), [0, 2, 3, 1]));
}

async function logitsOf(model: PvtClassifier, input: tf.Tensor4D): Promise<Float32Array> {
  const { logits } = model.forward(input);
  try {
    return (await logits.data()) as Float32Array;
  } finally {
    logits.dispose();
  }
}

/** NaN counts as an infinite error. */
const maxError = (actual: Float32Array, expected: Float32Array): number =>
  expected.reduce((largest, value, i) => {
    const error = Math.abs(value - actual[i]!);
    return Math.max(largest, Number.isNaN(error) ? Infinity : error);
  }, 0);

async function fastestPass(model: PvtClassifier, input: tf.Tensor4D): Promise<Timing> {
  let milliseconds = Infinity;
  for (let pass = 0; pass < timedPasses; pass++) {
    const start = performance.now();
    await logitsOf(model, input);
    milliseconds = Math.min(milliseconds, performance.now() - start);
    if (milliseconds > slowPass) break;
  }
  const [batch, height, width] = input.shape;
  return { macs: batch * cost(model.config, [height, width]).macs, milliseconds };
}

async function timeLarge(model: PvtClassifier): Promise<Timing> {
  const input = tf.zeros<tf.Rank.R4>([1, largeSide, largeSide, 3]);
  try {
    await compileShaders(() => model.forward(input).logits.dispose());
    await logitsOf(model, input);
    return await fastestPass(model, input);
  } finally {
    input.dispose();
  }
}
