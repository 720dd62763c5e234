import { registerWasmKernels, unregisterWasmKernels } from '@pvt/adapter-wasm';
import type * as tf from '@tensorflow/tfjs-core';
import { createPvt, pvtConfig, scoped, type TrainingContext } from '@pvt/core';
import { classificationLoss, createClassificationHead } from '@pvt/heads';
import { expectClose, useBackend } from '@pvt/testing';
import { adamW, sgd, train, type OptimizerFactory } from '@pvt/training';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sourceOf } from './golden.ts';
import { gradientGoldens, inputOf } from './suite.ts';

const optimizers: Record<string, OptimizerFactory> = {
  'adamw_lr1e-3_wd0.05_b0.9_0.999_eps1e-8_alldecay': adamW({
    learningRate: 1e-3,
    weightDecay: 0.05,
    groups: () => ({ rate: 1, decay: 1 }),
  }),
  'sgd_lr0.05_mom0.9_wd0': sgd({ learningRate: 0.05, momentum: 0.9 }),
};
const runs = gradientGoldens().flatMap((golden) =>
  Object.entries(golden.trajectories!).map(([name, expected]) => ({
    name: `${golden.name} ${name}`,
    golden,
    optimizer: optimizers[name]!,
    expected,
  })),
);

describe.each([
  ['cpu', false],
  ['wasm', false],
  ['wasm', true],
] as const)('six steps as torch takes them, on %s, our kernels: %s', (backend, kernels) => {
  beforeAll(async () => {
    await useBackend(backend);
    if (kernels) await registerWasmKernels();
  });
  afterAll(unregisterWasmKernels);

  it.each(runs)('$name', async ({ golden, optimizer, expected }) => {
    const config = pvtConfig(golden.config);
    const source = sourceOf(golden, config);
    const backbone = createPvt(config, source);
    const head = createClassificationHead(
      { channels: config.dims.at(-1)!, classes: config.classes },
      scoped(source, 'head'),
    );
    const input = inputOf(golden);
    const labels: number[] = Array(golden.input[0]).fill(golden.gradients!.target);
    const losses: number[] = [];
    const data = { length: 1, batches: () => [input] };
    const loss = (batch: tf.Tensor4D, context: TrainingContext) =>
      classificationLoss(head.forward(backbone.forward(batch, context).embedding, context), labels);
    for await (const event of train({ backbone, head }, { data, loss, optimizer, epochs: 6 }))
      if (event.kind === 'step') losses.push(event.loss);
    expect(losses).toHaveLength(6);
    for (const [i, value] of losses.entries())
      expect(Math.abs(value - expected.losses[i]!), `loss before step ${i + 1}`).toBeLessThanOrEqual(1e-4);
    await expectClose(head.params.bias!, expected.bias, 1e-4);
    backbone.dispose();
    head.dispose();
    input.dispose();
  });
});
