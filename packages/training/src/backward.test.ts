import * as tf from '@tensorflow/tfjs-core';
import { createRandom, type TrainingContext } from '@pvt/core';
import { expectClose, expectNoLeak, useBackend } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { createToy, toyData } from './fixtures/toy.ts';
import {
  fromStage,
  headOnly,
  parametersOf,
  recomputed,
  TrainingError,
  valueAndGradients,
  type Selection,
} from './index.ts';

beforeAll(() => useBackend('wasm'));

const [batch] = [...(toyData(1).batches(0) as Iterable<{ pixels: Float32Array; labels: number[] }>)];
const context = (more: Partial<TrainingContext> = {}): TrainingContext => ({
  training: true,
  random: createRandom(7),
  ...more,
});

/** Loss, gradients and the peak of bytes beyond those allocated before. */
async function run(select?: Selection, more?: Partial<TrainingContext>, depths = [1, 1, 1, 1]) {
  const toy = createToy({ dropPath: 0.5, depths });
  const parameters = parametersOf(toy.models, select);
  const before = tf.memory();
  let found!: ReturnType<typeof valueAndGradients>;
  const { peakBytes } = await tf.profile(() => {
    found = valueAndGradients(
      () => toy.loss(batch!, context(more)),
      parameters.map(({ variable }) => variable),
    );
  });
  const result = {
    loss: found.value.dataSync()[0]!,
    gradients: found.gradients.map((gradient) => gradient?.dataSync()),
    peak: peakBytes - before.numBytes,
  };
  tf.dispose([found.value, ...(found.gradients as tf.Tensor[])]);
  expect(tf.memory().numTensors).toBe(before.numTensors);
  toy.dispose();
  return result;
}

describe('backward pass', () => {
  it('agrees with that of tfjs, in less memory and without a leak', async () => {
    const ours = await run();
    const toy = createToy({ dropPath: 0.5 });
    const variables = parametersOf(toy.models).map(({ variable }) => variable);
    const before = tf.memory().numBytes;
    let theirs!: ReturnType<typeof tf.variableGrads>;
    const { peakBytes } = await tf.profile(() => {
      theirs = tf.variableGrads(() => toy.loss(batch!, context()), variables);
    });
    expect(ours.loss).toBe(theirs.value.dataSync()[0]);
    for (const [i, { name }] of variables.entries())
      await expectClose(ours.gradients[i]!, await theirs.grads[name]!.data(), 1e-6);
    expect(ours.peak).toBeLessThan((peakBytes - before) / 2);
    tf.dispose([theirs.value, theirs.grads]);
    toy.dispose();
  });

  it('retains nothing of frozen parameters', async () => {
    const [all, late, head] = [await run(), await run(fromStage(3)), await run(headOnly)];
    expect(late.gradients).toEqual(all.gradients.slice(-late.gradients.length));
    expect(late.peak).toBeLessThan(all.peak / 2);
    expect(head.peak).toBeLessThanOrEqual(late.peak);
  });

  it('recomputes blocks on request, with the same random numbers and gradients, in less memory', async () => {
    const [retained, recomputedRun] = [
      await run(undefined, {}, [12, 1, 1, 1]),
      await run(undefined, { recompute: recomputed }, [12, 1, 1, 1]),
    ];
    expect(recomputedRun.loss).toBe(retained.loss);
    expect(recomputedRun.gradients).toEqual(retained.gradients);
    expect(recomputedRun.peak).toBeLessThan(retained.peak / 2);
  });

  it('has no gradient of what the value does not depend on, and takes one at the value', async () => {
    const [x, y, z] = [tf.tensor1d([1, 2]), tf.scalar(3), tf.scalar(4)];
    const { value, gradients } = valueAndGradients(() => tf.mul(x, y), [x, y, z], tf.tensor1d([1, 10]));
    await expectClose(value, [3, 6], 0);
    await expectClose(gradients[0]!, [3, 30], 0);
    await expectClose(gradients[1]!, [21], 0);
    expect(gradients[2]).toBe(undefined);
  });

  it('can be nested in a gradient of tfjs', async () => {
    const cube = tf.customGrad((input) => {
      const x = input as tf.Tensor;
      return {
        value: tf.pow(x, 3),
        gradFunc: (dy: tf.Tensor) => valueAndGradients(() => tf.pow(x, 3), [x], dy).gradients[0]!,
      };
    });
    await expectClose(tf.grad((x) => tf.mul(cube(x), 2))(tf.tensor1d([1, 2])), [6, 24], 1e-5);
  });

  it('names an op that has no gradient, without a leak', async () => {
    const x = tf.tensor1d([1, 2]);
    await expectNoLeak(() => {
      const attempt = () => valueAndGradients(() => tf.sum(tf.atan(tf.square(x))), [x]).value;
      expect(() => tf.tidy(attempt)).toThrow(TrainingError);
      expect(() => tf.tidy(attempt)).toThrow(/got Atan/);
      expect(() =>
        tf.tidy(() => {
          const { value } = valueAndGradients((): tf.Tensor => {
            throw new Error('mine');
          }, [x]);
          return value;
        }),
      ).toThrow('mine');
    });
  });
});
