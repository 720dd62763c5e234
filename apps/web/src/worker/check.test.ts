import { useBackend } from '@pvt/testing';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, expect, it } from 'vitest';
import fixture from '@pvt/golden/fixtures/custom_v2_small_64x64_seed0.json' with { type: 'json' };
import { createProbe, tolerance } from './check.ts';
import { golden } from './golden.ts';

let softmax: tf.KernelConfig;
beforeAll(async () => {
  await useBackend('cpu');
  softmax = tf.getKernel('Softmax', 'cpu')!;
});
afterEach(() => {
  tf.unregisterKernel('Softmax', 'cpu');
  tf.registerKernel(softmax);
});

it('compares with the numbers of the official code', () => {
  const { outputs, naming, config, seed, input } = fixture;
  expect(golden).toMatchObject({ logits: outputs.logits.samples, naming, config, seed, input });
});

it('passes a backend that computes correctly', async () => {
  const before = tf.memory().numTensors;
  const { error, small, dispose } = await createProbe();
  dispose();
  expect(error).toBeLessThan(2e-5);
  expect(small.macs).toBeGreaterThan(1e6);
  expect(tf.memory().numTensors).toBe(before);
});

it.each([
  ['off by one percent', (x: number) => x * 1.01],
  ['NaN', () => Number.NaN],
])('fails a backend whose softmax is %s', async (_description, distort) => {
  tf.unregisterKernel('Softmax', 'cpu');
  tf.registerKernel({
    ...softmax,
    kernelFunc: (call) => {
      const output = softmax.kernelFunc(call) as tf.TensorInfo;
      const backend = call.backend as {
        makeOutput(values: Float32Array, shape: number[], dtype: 'float32'): tf.TensorInfo;
        data: { get(id: object): { values: Float32Array } };
      };
      return backend.makeOutput(backend.data.get(output.dataId).values.map(distort), output.shape, 'float32');
    },
  });
  const { error, dispose } = await createProbe();
  dispose();
  expect(error).toBeGreaterThan(tolerance);
});
