import * as tf from '@tensorflow/tfjs-core';
import { expectClose, expectGradient, expectNoLeak, useBackend, useGradients } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { materialize } from '../params/materialize.ts';
import { randomInit } from '../params/source.ts';
import { countParams, leavesOf } from '../params/spec.ts';
import { createRandom } from '../random.ts';
import { batchNorm, batchNormSpec } from './batchNorm.ts';
import { convolution, convolutionSpec } from './convolution.ts';

describe.each(['cpu', 'wasm'] as const)('layers on %s', (backend) => {
  beforeAll(async () => {
    await useGradients();
    await useBackend(backend);
  });

  it('convolution has no bias if the spec has none', async () => {
    const spec = convolutionSpec(1, 2, 1, 'fanOut', { bias: false });
    expect([...leavesOf(spec)].map(([path]) => path)).toEqual(['weight']);
    await expectClose(
      convolution(tf.tensor4d([1, 2, 3, 4], [1, 2, 2, 1]), { weight: tf.tensor4d([2, -1], [1, 1, 1, 2]) }),
      [2, -1, 4, -2, 6, -3, 8, -4],
      0,
    );
  });

  describe('batchNorm', () => {
    const x = () => tf.tensor4d([1, 10, 2, 20, 3, 30, 6, 40], [2, 2, 1, 2]);

    it('normalises by the running statistics', async () => {
      const params = {
        weight: tf.tensor1d([2, 1]),
        bias: tf.tensor1d([1, 0]),
        running_mean: tf.tensor1d([1, 20]),
        running_var: tf.tensor1d([4, 100]),
      };
      await expectClose(batchNorm(x(), params, 0, {}), [1, -1, 2, 0, 3, 1, 6, 2], 1e-6);
    });

    it('normalises by the batch and follows it while training', async () => {
      const params = materialize(batchNormSpec(2), randomInit(1), 'test');
      const y = batchNorm(x(), params, 0, { training: true, random: createRandom(1) });
      const [a, b] = [Math.sqrt(3.5), Math.sqrt(125)];
      await expectClose(y, [-2 / a, -15 / b, -1 / a, -5 / b, 0, 5 / b, 3 / a, 15 / b], 1e-5);
      // A tenth of the batch's mean; of its variance over count - 1 besides nine tenths of 1.
      await expectClose(params.running_mean, [0.3, 2.5], 1e-6);
      await expectClose(params.running_var, [0.9 + 1.4 / 3, 0.9 + 50 / 3], 1e-5);
    });

    it('has the gradient of its values, through the batch statistics too', async () => {
      const map = tf.randomNormal([2, 3, 2, 3], 0, 1, 'float32', 4);
      const fixed = {
        running_mean: tf.variable(tf.tensor1d([0.1, 0.2, 0.3])),
        running_var: tf.variable(tf.tensor1d([1, 2, 3])),
      };
      for (const context of [{}, { training: true, random: createRandom(1) }] as const) {
        await expectGradient(
          (t, weight, bias) =>
            batchNorm(
              t as tf.Tensor4D,
              { ...fixed, weight: weight as tf.Tensor1D, bias: bias as tf.Tensor1D },
              1e-5,
              context,
            ),
          [map, tf.tensor1d([1, 2, 3]), tf.tensor1d([0, 1, 2])],
        );
      }
    });

    it('keeps its statistics out of training and leaves no tensor behind', async () => {
      const spec = batchNormSpec(2);
      expect(countParams(spec)).toBe(4);
      const params = materialize(spec, randomInit(1), 'test');
      expect(
        Object.entries(params).map(([name, tensor]) => [name, (tensor as tf.Variable).trainable]),
      ).toEqual([
        ['weight', true],
        ['bias', true],
        ['running_mean', false],
        ['running_var', false],
      ]);
      const map = x();
      await expectNoLeak(() =>
        batchNorm(map, params, 1e-5, { training: true, random: createRandom(1) }).dispose(),
      );
    });
  });
});
