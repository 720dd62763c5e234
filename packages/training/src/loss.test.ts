import * as tf from '@tensorflow/tfjs-core';
import { expectClose, expectNoLeak, useBackend } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { oneHot, softCrossEntropy } from './loss.ts';

beforeAll(() => useBackend('cpu'));

describe('soft cross entropy', () => {
  const logits = () =>
    tf.tensor2d([
      [Math.log(2), Math.log(3), Math.log(5)],
      [0, 0, 0],
    ]);

  it('is the mean of -Σ target · log probability', async () => {
    const expected = (-0.5 * Math.log(0.2) - 0.5 * Math.log(0.5) + Math.log(3)) / 2;
    await expectClose(
      softCrossEntropy(
        logits(),
        tf.tensor2d([
          [0.5, 0, 0.5],
          [0, 1, 0],
        ]),
      ),
      [expected],
      1e-6,
    );
  });

  it('smooths towards equal shares', async () => {
    const apart = -0.9 * Math.log(0.5) - (0.1 / 3) * (Math.log(0.2) + Math.log(0.3) + Math.log(0.5));
    await expectClose(
      softCrossEntropy(logits(), oneHot([2, 0], 3), { smoothing: 0.1 }),
      [(apart + Math.log(3)) / 2],
      1e-6,
    );
  });

  it('leaves nothing behind', async () => {
    const [given, targets] = [logits(), oneHot([2, 0], 3)];
    await expectNoLeak(() => softCrossEntropy(given, targets, { smoothing: 0.1 }).dispose());
  });

  it('refuses targets of another shape, smoothing and labels out of range', () => {
    expect(() => softCrossEntropy(logits(), oneHot([1], 3))).toThrow(/logits' shape \[2,3\]/);
    expect(() => softCrossEntropy(logits(), oneHot([1, 1], 3), { smoothing: 1 })).toThrow(/\[0, 1\)/);
    expect(() => oneHot([3], 3)).toThrow(/between 0 and 2/);
  });
});
