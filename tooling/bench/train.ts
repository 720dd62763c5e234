/**
 * Times a training step of pvt_v2_nano (64 px, batch 32, AdamW, clipping) on tfjs's wasm backend, with and
 * without our kernels, and of PyTorch on one thread, interleaved; optionally also watches the memory over
 * many steps: `tsx tooling/bench/train.ts [--rounds 9] [--memory 500] [--recompute]`. Times compare only
 * within a run.
 */
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { registerWasmKernels, unregisterWasmKernels } from '@pvt/adapter-wasm';
import { createRandom, fromStateDict, pvtConfig } from '@pvt/core';
import { createPvtClassifier } from '@pvt/heads';
import { getModel, toCanonical } from '@pvt/presets';
import { adamW, parametersOf, recomputed, train, valueAndGradients } from '@pvt/training';
import * as tf from '@tensorflow/tfjs-core';
import { generate } from '../golden/generator.ts';
import { generated } from '../golden/golden.ts';
import { findTorch, inFile, median, startProgram, useWasm } from './shared.ts';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    memory: { type: 'string', default: '0' },
    recompute: { type: 'boolean', default: false },
  },
});
const [rounds, memorySteps] = [Number(options.rounds), Number(options.memory)];
const [batch, size] = [32, 64];

await useWasm();

// No randomness, so that PyTorch takes the same steps, which its losses show.
const config = pvtConfig({ ...getModel('pvt_v2_nano').config, dropPath: 0 });
const state = generated({ naming: 'official', seed: 0 }, config);
const pixels = generate(0, 'input', [batch, 3, size, size], new Map());
const labels = Array.from({ length: batch }, (_, i) => i % config.classes);
const optimizer = adamW({ learningRate: 1e-3, weightDecay: 0.05, groups: () => ({ rate: 1, decay: 1 }) });

interface Runner {
  readonly name: string;
  /** One step: its milliseconds and the loss before it. */
  step(): Promise<{ readonly ms: number; readonly loss: number }>;
  close(): void;
}

const input = () =>
  tf.tidy(() => tf.transpose(tf.tensor(pixels, [batch, 3, size, size]), [0, 2, 3, 1])) as tf.Tensor4D;
const createModel = () => createPvtClassifier(config, fromStateDict(toCanonical(state, 'official').state));

function ours(kernels: boolean): Runner {
  const model = createModel();
  const x = input();
  const data = { length: 1, batches: () => [x] };
  const run = train(model, {
    data,
    loss: (x, context) => model.forward(x, { ...context, labels }).loss,
    optimizer,
    epochs: 1e6,
    clip: 1,
    recompute: options.recompute,
  });
  return {
    name: kernels ? '@pvt wasm with kernels' : '@pvt wasm',
    async step() {
      if (kernels) await registerWasmKernels();
      else unregisterWasmKernels();
      const start = performance.now();
      let event = (await run.next()).value!;
      while (event.kind !== 'step') event = (await run.next()).value!;
      return { ms: performance.now() - start, loss: event.loss };
    },
    close: () => model.dispose(),
  };
}

const python = findTorch();

async function torch(): Promise<Runner> {
  const { ask, close } = startProgram(python!, [join(import.meta.dirname, 'torch_pvt.py'), '1']);
  const { version } = await ask();
  const input = { shape: [batch, 3, size, size], values: pixels };
  await inFile(new Map([...state, ['input', input]]), (weights) => ask({ load: { weights, config } }));
  return {
    name: `PyTorch ${version}, 1 thread`,
    async step() {
      const { ms, loss } = await ask({ train: 1 });
      return { ms: ms as number, loss: loss as number };
    },
    close,
  };
}

const runners = [ours(false), ours(true), ...(python === undefined ? [] : [await torch()])];
const times = runners.map((): number[] => []);
const losses = runners.map((): number[] => []);
for (let round = -2; round < rounds; round++) {
  for (const [i, runner] of runners.entries()) {
    const { ms, loss } = await runner.step();
    losses[i]!.push(loss);
    if (round >= 0) times[i]!.push(ms);
  }
}
console.log(`pvt_v2_nano, ${size} px, batch ${batch}, one AdamW step, ${rounds} rounds, ${cpus()[0]!.model}`);
for (const [i, { name, close }] of runners.entries()) {
  const difference = Math.max(...losses[i]!.map((loss, step) => Math.abs(loss - losses.at(-1)![step]!)));
  console.log(
    `${name.padEnd(24)} ${median(times[i]!).toFixed(0).padStart(6)} ms  ` +
      `${(median(times[i]!) / median(times.at(-1)!)).toFixed(2)}x of ${runners.at(-1)!.name}, ` +
      `losses within ${difference.toExponential(1)}`,
  );
  close();
}

const model = createModel();
const x = input();
const variables = parametersOf(model).map(({ variable }) => variable);
for (const kernels of [false, true]) {
  if (kernels) await registerWasmKernels();
  else unregisterWasmKernels();
  for (const recompute of [false, true]) {
    const before = tf.memory().numBytes;
    const context = {
      training: true,
      random: createRandom(0),
      ...(recompute && { recompute: recomputed }),
    } as const;
    const { peakBytes } = await tf.profile(() => {
      const { value, gradients } = valueAndGradients(
        () => model.forward(x, { ...context, labels }).loss,
        variables,
      );
      tf.dispose([value, ...(gradients as tf.Tensor[])]);
    });
    console.log(
      `peak of tensors in a step ${kernels ? 'with' : 'without'} kernels, ` +
        `${recompute ? 'blocks recomputed' : 'all retained'}: ${((peakBytes - before) / 1e6).toFixed(0)} MB`,
    );
  }
}

if (memorySteps > 0) {
  const data = { length: memorySteps, batches: () => Array<tf.Tensor4D>(memorySteps).fill(x) };
  for await (const event of train(model, {
    data,
    loss: (x, context) => model.forward(x, { ...context, labels }).loss,
    optimizer,
    epochs: 1,
    clip: 1,
    average: 0.999,
  })) {
    if (event.kind !== 'step' || event.step % Math.ceil(memorySteps / 10) !== 0) continue;
    const { numTensors, numBytes } = tf.memory();
    const { heapUsed, rss } = process.memoryUsage();
    console.log(
      `step ${event.step}: ${numTensors} tensors, ${(numBytes / 1e6).toFixed(2)} MB of them, ` +
        `heap ${(heapUsed / 1e6).toFixed(0)} MB, process ${(rss / 1e6).toFixed(0)} MB`,
    );
  }
}
process.exit(0);
