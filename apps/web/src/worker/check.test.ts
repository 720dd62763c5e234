import { useBackend } from '@pvt/testing';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, expect, it } from 'vitest';
import golden from '../../../../tooling/golden/fixtures/custom_v2_small_64x64_seed0.json' with { type: 'json' };
import { probe, tolerance } from './check.ts';
import own from './golden.json' with { type: 'json' };

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
  const { outputs, config, seed, input } = golden;
  expect(own).toMatchObject({ logits: outputs.logits.samples, config, seed, input });
});

it('finds a backend right that is', async () => {
  const before = tf.memory().numTensors;
  const { error, small, dispose } = await probe();
  dispose();
  expect(error).toBeLessThan(2e-5);
  expect(small.macs).toBeGreaterThan(1e6);
  expect(tf.memory().numTensors).toBe(before);
});

it.each([
  ['a little wrong', (x: number) => x * 1.01],
  ['no number at all', () => Number.NaN],
])('finds a backend wrong whose softmax is %s', async (_what, spoil) => {
  tf.unregisterKernel('Softmax', 'cpu');
  tf.registerKernel({
    ...softmax,
    kernelFunc: (call) => {
      const output = softmax.kernelFunc(call) as tf.TensorInfo;
      const backend = call.backend as {
        makeOutput(values: Float32Array, shape: number[], dtype: 'float32'): tf.TensorInfo;
        data: { get(id: object): { values: Float32Array } };
      };
      return backend.makeOutput(backend.data.get(output.dataId).values.map(spoil), output.shape, 'float32');
    },
  });
  const { error, dispose } = await probe();
  dispose();
  expect(error).toBeGreaterThan(tolerance);
});
