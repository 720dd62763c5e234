import * as tf from '@tensorflow/tfjs-core';
import { expectClose, expectGradient, expectNoLeak, useBackend, useGradients } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { createRandom } from '../random.ts';
import { activationFunctions, gelu } from './activation.ts';
import { adaptiveAveragePool } from './adaptiveAveragePool.ts';
import { multiHeadAttention } from './attention.ts';
import { dropout, dropPath } from './dropout.ts';
import { conv2d, depthwiseConv2d } from './convolution.ts';
import { layerNorm } from './layerNorm.ts';
import { resample } from './resample.ts';

const noise = (shape: number[], seed = 1) => tf.randomNormal(shape, 0, 1, 'float32', seed);

describe.each(['cpu', 'wasm'] as const)('ops on %s', (backend) => {
  beforeAll(async () => {
    await useGradients();
    await useBackend(backend);
  });

  describe('activations', () => {
    it('gelu is x·Φ(x)', async () => {
      // Φ from a table of the normal distribution, to ten digits.
      await expectClose(
        gelu(tf.tensor1d([-3, -1, -0.5, 0, 0.5, 1, 3, 6])),
        [
          -0.004049694, -0.1586552539, -0.1542687694, 0, 0.3457312306, 0.8413447461, 2.995950306,
          5.9999999941,
        ],
        5e-7,
      );
    });

    it('gelu_tanh, relu and silu are what they are called', async () => {
      const x = tf.tensor1d([-1, 1]);
      await expectClose(activationFunctions.gelu_tanh(x), [-0.1588080094, 0.8411919906], 1e-6);
      await expectClose(activationFunctions.silu(x), [-0.2689414214, 0.7310585786], 1e-6);
      await expectClose(activationFunctions.relu(x), [0, 1], 0);
    });

    it.each(['gelu', 'gelu_tanh', 'silu'] as const)('%s has the gradient of its values', (name) =>
      expectGradient((x) => activationFunctions[name](x), [noise([3, 5, 7])]),
    );
  });

  describe('layerNorm', () => {
    it('centers and scales rows by their biased variance', async () => {
      const y = layerNorm(
        tf.tensor2d([
          [1, 2, 3, 4],
          [10, 10, 10, 10],
        ]),
        tf.tensor1d([1, 1, 1, 2]),
        tf.tensor1d([0, 0, 0, 1]),
        1e-12,
      );
      const unit = 1 / Math.sqrt(1.25);
      await expectClose(y, [-1.5 * unit, -0.5 * unit, 0.5 * unit, 1 + 3 * unit, 0, 0, 0, 1], 1e-6);
    });

    it('has the gradient of its values in all three inputs', () =>
      expectGradient(
        (x, weight, bias) => layerNorm(x, weight as tf.Tensor1D, bias as tf.Tensor1D, 1e-6),
        [noise([2, 3, 8]), noise([8], 2), noise([8], 3)],
      ));
  });

  describe('adaptiveAveragePool', () => {
    const ramp = () => tf.tidy(() => tf.reshape(tf.range(0, 10), [1, 2, 5, 1])) as tf.Tensor4D;

    it('averages overlapping windows if the sizes do not divide', async () => {
      // Rows 0..4 and 5..9; windows of 5 onto 3 are [0,2), [1,4), [3,5).
      await expectClose(adaptiveAveragePool(ramp(), [1, 3]), [3, 4.5, 6], 1e-6);
    });

    it('repeats if the map is smaller than the target', async () => {
      await expectClose(
        adaptiveAveragePool(tf.tensor4d([1, 2], [1, 1, 2, 1]), [2, 4]),
        [1, 1, 2, 2, 1, 1, 2, 2],
        1e-6,
      );
    });

    it('leaves a constant alone and keeps its mean when sizes divide', async () => {
      await expectClose(
        adaptiveAveragePool(tf.fill([2, 9, 13, 3], 4), [7, 7]),
        new Float32Array(2 * 49 * 3).fill(4),
        1e-5,
      );
      const x = noise([1, 14, 21, 2]) as tf.Tensor4D;
      await expectClose(
        tf.mean(adaptiveAveragePool(x, [7, 7]), [0, 1, 2]),
        await tf.mean(x, [0, 1, 2]).data(),
        1e-6,
      );
    });

    it('has the gradient of its values', () =>
      expectGradient((x) => adaptiveAveragePool(x as tf.Tensor4D, [7, 7]), [noise([2, 5, 9, 3])]));
  });

  describe('resample', () => {
    it('bilinear has the pixel centers of PyTorch', async () => {
      // Two pixels onto four: centers at -0.25, 0.25, 0.75 and 1.25 of the source, clamped at its ends.
      await expectClose(
        resample(tf.tensor4d([0, 1], [1, 1, 2, 1]), [1, 4], 'bilinear'),
        [0, 0.25, 0.75, 1],
        1e-6,
      );
      // Without antialiasing, three onto two reads between pixels at 0.25 and 1.75.
      await expectClose(resample(tf.tensor4d([0, 4, 8], [1, 3, 1, 1]), [2, 1], 'bilinear'), [1, 7], 1e-6);
    });

    it('bicubic has the weights of a = -0.75', async () => {
      // The kernel at distances 0.25, 0.75, 1.25 and 1.75, by hand from Keys' formula.
      const [near, next, far, last] = [0.87890625, 0.26171875, -0.10546875, -0.03515625];
      const impulse = tf.tensor4d([0, 0, 0, 1, 0, 0, 0, 0], [1, 1, 8, 1]);
      await expectClose(
        resample(impulse, [1, 16], 'bicubic'),
        [0, 0, 0, last, far, next, near, near, next, far, last, 0, 0, 0, 0, 0],
        1e-6,
      );
      await expectClose(resample(impulse, [1, 4], 'bicubic'), [0, 0.59375, -0.09375, 0], 1e-6);
    });

    it('nearest takes the pixel that contains the left edge', async () => {
      await expectClose(
        resample(tf.tensor4d([1, 2, 3], [1, 1, 3, 1]), [1, 5], 'nearest'),
        [1, 1, 2, 2, 3],
        0,
      );
    });

    it.each(['bilinear', 'bicubic'] as const)('%s has the gradient of its values', async (method) => {
      await expectGradient((x) => resample(x as tf.Tensor4D, [7, 4], method), [noise([2, 3, 5, 2])]);
      await expectGradient((x) => resample(x as tf.Tensor4D, [2, 3], method), [noise([1, 6, 5, 2])]);
    });

    it('refuses sizes that are none', () => {
      expect(() => resample(tf.zeros([1, 2, 2, 1]), [0, 4], 'bilinear')).toThrow(/got \[0, 4\]/);
      expect(() => resample(tf.zeros([1, 2, 2, 1]), [2.5, 4], 'bilinear')).toThrow(/whole pixels/);
    });
  });

  describe('convolutions', () => {
    it.each([
      // kernel, stride, padding, height, width: v2's patches, v1's, a reduction with a remainder, 1x1, 3x3
      [7, 4, 3, 13, 18],
      [3, 2, 1, 7, 6],
      [2, 2, 0, 5, 8],
      [4, 4, 0, 11, 9],
      [1, 1, 0, 3, 4],
      [3, 1, 1, 4, 5],
    ])(
      'with kernel %i, stride %i, padding %i on %ix%i have the gradients of their values',
      (kernel, stride, padding, height, width) =>
        expectGradient(
          (x, filter, bias) =>
            conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, bias as tf.Tensor1D, stride, padding),
          [noise([2, height, width, 3]), noise([kernel, kernel, 3, 5], 2), noise([5], 3)],
        ),
    );

    it('without bias too', () =>
      expectGradient(
        (x, filter) => conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, undefined, 1, 1),
        [noise([1, 4, 5, 2]), noise([3, 3, 2, 4], 2)],
      ));

    it('depthwise too', () =>
      expectGradient(
        (x, filter, bias) => depthwiseConv2d(x as tf.Tensor4D, filter as tf.Tensor4D, bias as tf.Tensor1D, 1),
        [noise([2, 5, 4, 6]), noise([3, 3, 6, 1], 2), noise([6], 3)],
      ));
  });

  describe('attention', () => {
    it('weights values by the softmax of scaled products', async () => {
      // One head of width 4, so the scale is 1/2: scores are ln 3 and 0, probabilities 3/4 and 1/4.
      const query = tf.tensor3d([[[2 * Math.log(3), 0, 0, 0]]]);
      const keyValue = tf.tensor3d([
        [
          [1, 0, 0, 0, 8, 0, 4, 0],
          [0, 1, 0, 0, 0, 8, 4, 0],
        ],
      ]);
      const { tokens, probabilities } = multiHeadAttention(query, keyValue, 1, true);
      await expectClose(probabilities!, [0.75, 0.25], 1e-6);
      await expectClose(tokens, [6, 2, 4, 0], 1e-5);
    });

    it('treats heads apart', async () => {
      const query = noise([2, 5, 6]) as tf.Tensor3D;
      const keyValue = noise([2, 3, 12], 2) as tf.Tensor3D;
      const whole = multiHeadAttention(query, keyValue, 2).tokens;
      const [keys, values] = tf.split(keyValue, 2, 2) as [tf.Tensor3D, tf.Tensor3D];
      const apart = [0, 1].map((head) => {
        const part = (x: tf.Tensor3D) => tf.slice(x, [0, 0, head * 3], [-1, -1, 3]);
        return multiHeadAttention(part(query), tf.concat([part(keys), part(values)], 2), 1).tokens;
      });
      await expectClose(whole, await tf.concat(apart, 2).data(), 1e-6);
    });

    it.each([1, 3])('with %i heads has the gradient of its values', (heads) =>
      expectGradient(
        (query, keyValue) => multiHeadAttention(query as tf.Tensor3D, keyValue as tf.Tensor3D, heads).tokens,
        [noise([2, 5, 6]), noise([2, 4, 12], 2)],
      ),
    );
  });

  describe('dropout and drop path', () => {
    const training = (seed: number) => ({ training: true, random: createRandom(seed) }) as const;

    it('are the identity outside training and at rate 0', () => {
      const x = noise([4, 4]);
      expect(dropout(x, 0.5, {})).toBe(x);
      expect(dropPath(x, 0.5, { training: false })).toBe(x);
      expect(dropout(x, 0, training(1))).toBe(x);
    });

    it('keep the expectation and repeat with the seed', async () => {
      const ones = tf.ones([100, 100]);
      const values = (await dropout(ones, 0.25, training(5)).data()) as Float32Array;
      expect(new Set(values.map(Math.fround))).toEqual(new Set([0, Math.fround(1 / 0.75)]));
      await expectClose(
        [values.reduce((a, b) => a + b, 0) / 10_000],
        [1],
        5 * Math.sqrt(0.25 / 0.75 / 10_000),
      );
      await expectClose(dropout(ones, 0.25, training(5)), values, 0);
    });

    it('drop path drops whole samples', async () => {
      const values = await tf.sum(dropPath(tf.ones([64, 3, 5]), 0.5, training(9)), [1, 2]).data();
      expect(new Set(values)).toEqual(new Set([0, 30]));
    });

    it('pass gradients through what they keep', () =>
      expectGradient((x) => dropPath(x, 0.5, training(9)), [noise([8, 3, 5])]));
  });

  it('leaves no tensor behind', async () => {
    const x = noise([2, 5, 6, 4]) as tf.Tensor4D;
    const [query, keyValue] = [noise([2, 5, 6]) as tf.Tensor3D, noise([2, 4, 12]) as tf.Tensor3D];
    const [weight, bias] = [tf.ones([4]) as tf.Tensor1D, tf.zeros([4]) as tf.Tensor1D];
    await expectNoLeak(() => {
      tf.dispose([
        gelu(x),
        activationFunctions.gelu_tanh(x),
        activationFunctions.silu(x),
        layerNorm(x, weight, bias, 1e-6),
        adaptiveAveragePool(x, [7, 7]),
        resample(x, [3, 9], 'bicubic'),
        resample(x, [5, 6], 'bilinear'),
        dropout(x, 0.5, { training: true, random: createRandom(1) }),
      ]);
      const { tokens, probabilities } = multiHeadAttention(query, keyValue, 2, true);
      tf.dispose([tokens, probabilities!]);
    });
  });
});
