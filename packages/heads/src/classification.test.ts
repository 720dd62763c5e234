import * as tf from '@tensorflow/tfjs-core';
import { createPvt, createRandom, pvtConfig, PvtError, randomInit, scoped } from '@pvt/core';
import { expectClose, expectGradient, expectNoLeak, useBackend, useGradients } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { classificationLoss, createClassificationHead, createPvtClassifier, topK } from './classification.ts';
import lossFixture from './retinanet/fixtures/losses.json';

const config = pvtConfig({ version: 'v2', dims: [8, 16, 20, 32], depths: [1, 1, 1, 1], classes: 5 });

beforeAll(async () => {
  await useGradients();
  await useBackend('wasm');
});

describe('classificationLoss', () => {
  it('is the cross entropy that PyTorch computes, and has its gradient', async () => {
    const { logits, labels, loss, grad } = lossFixture.cross_entropy_mean;
    const of = (x: tf.Tensor) => classificationLoss(x as tf.Tensor2D, labels);
    await expectClose(of(tf.tensor2d(logits)), [loss], 2e-6);
    await expectClose(tf.grad(of)(tf.tensor2d(logits)), grad.flat(), 1e-6);
  });

  it('spreads a share of each target over all classes', async () => {
    // Probabilities 1/2 and 1/4, 1/4 by construction.
    const logits = tf.tensor2d([[Math.log(2), 0, 0]]);
    await expectClose(
      classificationLoss(logits, [0], { smoothing: 0.3 }),
      [0.8 * Math.log(2) + 0.2 * Math.log(4)],
      1e-6,
    );
    await expectGradient(
      (x) => classificationLoss(x as tf.Tensor2D, [2, 1], { smoothing: 0.1 }),
      [tf.randomNormal([2, 4], 0, 1, 'float32', 3)],
    );
  });

  it('is the mean squared error of a single class', () =>
    expectClose(classificationLoss(tf.tensor2d([[1], [4]]), [3, 3.5]), [(4 + 0.25) / 2], 1e-6));

  it.each([
    ['labels-misfit', () => classificationLoss(tf.zeros([2, 3]), [1])],
    ['label-invalid', () => classificationLoss(tf.zeros([1, 3]), [3])],
    ['label-invalid', () => classificationLoss(tf.zeros([1, 3]), [0.5])],
    ['smoothing-invalid', () => classificationLoss(tf.zeros([1, 3]), [0], { smoothing: 1 })],
  ])('says %s', (code, act) => expect(act).toThrow(expect.objectContaining({ code })));
});

describe('createPvtClassifier', () => {
  it('answers as backbone and head apart, and with a loss for labels', async () => {
    const source = randomInit(3);
    const input = tf.randomNormal([2, 64, 64, 3], 0, 1, 'float32', 1) as tf.Tensor4D;
    await expectNoLeak(async () => {
      const model = createPvtClassifier(config, source);
      const backbone = createPvt(config, source);
      const head = createClassificationHead({ channels: 32, classes: 5 }, scoped(source, 'head'));
      const output = backbone.forward(input);
      const expected = head.forward(output.embedding);
      const { logits, loss } = model.forward(input, { labels: [0, 4], smoothing: 0.1 });
      await expectClose(logits, await expected.data(), 1e-6);
      const again = classificationLoss(expected, [0, 4], { smoothing: 0.1 });
      await expectClose(loss, await again.data(), 1e-6);
      const training = model.forward(input, { training: true, random: createRandom(1) });
      expect(Object.keys(training)).toEqual(['logits']);
      tf.dispose([
        ...output.pyramid.map(({ tensor }) => tensor),
        output.embedding,
        expected,
        logits,
        loss,
        again,
        training.logits,
      ]);
      for (const one of [model, backbone, head]) one.dispose();
    });
  });

  it('refuses a config without classes', async () => {
    await expectNoLeak(() => {
      expect(() => createPvtClassifier({ ...config, classes: 0 }, randomInit(1))).toThrow(
        expect.objectContaining({ code: 'classes-invalid' }),
      );
      expect(() => createClassificationHead({ channels: 32, classes: 0 }, randomInit(1))).toThrow(
        expect.objectContaining({ code: 'classes-invalid' }),
      );
    });
  });
});

describe('topK', () => {
  it('names the best classes with their probabilities', async () => {
    const predictions = await topK(
      tf.tensor2d([
        [0, Math.log(2), Math.log(5)],
        [1, 1, 1],
      ]),
      2,
      ['cat', 'dog'],
    );
    expect(predictions.map((some) => some.map(({ label, name }) => [label, name]))).toEqual([
      [
        [2, '2'],
        [1, 'dog'],
      ],
      [
        [0, 'cat'],
        [1, 'dog'],
      ],
    ]);
    await expectClose(
      predictions.flat().map(({ probability }) => probability),
      [5 / 8, 2 / 8, 1 / 3, 1 / 3],
      1e-6,
    );
  });

  it('refuses what is no number', () =>
    expect(topK(tf.tensor2d([[0, NaN]]), 1)).rejects.toThrow(
      expect.objectContaining({ code: 'scores-nan', constructor: PvtError }),
    ));
});
