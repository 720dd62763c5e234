import * as tf from '@tensorflow/tfjs-core';
import { createModel, linearSpec, randomInit } from '@pvt/core';
import { expectClose, useBackend } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { averageWeights } from './average.ts';
import { adamW, globalNorm, sgd } from './optimizer.ts';
import { parametersOf } from './parameters.ts';

beforeAll(() => useBackend('cpu'));

const create = (seed = 1) => createModel('probe', linearSpec(3, 2), randomInit(seed), () => () => ({}));
const gradientsAt = (step: number) =>
  new Map([
    ['weight', Float32Array.from({ length: 6 }, (_, i) => Math.sin(i + step))],
    ['bias', Float32Array.of(0.5, -step)],
  ]);
const values = (model: ReturnType<typeof create>) => [
  ...model.params.weight.dataSync(),
  ...model.params.bias!.dataSync(),
];

// tooling/golden/trajectories.test.ts compares six steps with torch.
describe('optimizers', () => {
  it('move by the learning rate in the first step of AdamW, whatever the gradient', async () => {
    const model = create();
    const before = values(model);
    await adamW({ learningRate: 0.1, weightDecay: 0 })(parametersOf(model)).step(gradientsAt(1), 0.5);
    const expected = before.map(
      (value, i) => value - 0.05 * Math.sign([...gradientsAt(1).get('weight')!, 0.5, -1][i]!),
    );
    await expectClose(values(model), expected, 1e-6);
  });

  it('decay apart from the gradient in AdamW, and only weights', async () => {
    const model = create();
    const before = values(model);
    await adamW({ learningRate: 0.1, weightDecay: 0.2 })(parametersOf(model)).step(
      new Map([
        ['weight', new Float32Array(6)],
        ['bias', new Float32Array(2)],
      ]),
    );
    await expectClose(
      values(model),
      before.map((value, i) => (i < 6 ? value * 0.98 : value)),
      1e-7,
    );
  });

  it('accumulate momentum in SGD: 1 + m + m² gradients', async () => {
    const model = create();
    const before = values(model);
    const optimizer = sgd({ learningRate: 0.1, momentum: 0.5 })(parametersOf(model));
    const constant = new Map([['bias', Float32Array.of(1, 2)]]);
    for (let i = 0; i < 3; i++) await optimizer.step(constant);
    // Moves of 1, 1.5 and 1.75 gradients; the weight has no gradient and stays.
    await expectClose(
      values(model),
      before.map((value, i) => (i < 6 ? value : value - 0.1 * 4.25 * (i - 5))),
      1e-6,
    );
  });

  it.each([
    ['AdamW', adamW({ learningRate: 0.1 })],
    ['SGD', sgd({ learningRate: 0.1, weightDecay: 0.1, nesterov: true })],
  ] as const)('%s continues from its state, in any order of parameters', async (_, of) => {
    const [one, other] = [create(), create()];
    const first = of(parametersOf(one));
    for (let step = 0; step < 3; step++) await first.step(gradientsAt(step));
    const second = of([...parametersOf(other)].reverse());
    for (const key of ['weight', 'bias'] as const)
      tf.tidy(() => (other.params[key] as tf.Variable).assign(one.params[key]!.clone()));
    second.restore(first.state());
    for (const step of [3, 4]) {
      await first.step(gradientsAt(step));
      await second.step(gradientsAt(step));
    }
    expect(values(other)).toEqual(values(one));
    expect(second.state()).toEqual({ steps: 5, slots: first.state().slots });
    expect([...first.state().slots.values()][0]!.shape).toEqual([2, 3]);
  });

  it('refuse the state of another optimizer or model', async () => {
    const optimizer = adamW({ learningRate: 0.1 })(parametersOf(create()));
    await optimizer.step(gradientsAt(0));
    const momentum = sgd({ learningRate: 0.1 })(parametersOf(create()));
    expect(() => momentum.restore(optimizer.state())).toThrow(/slots momentum/);
    const { slots } = optimizer.state();
    expect(() => optimizer.restore({ steps: 1, slots: new Map([...slots].slice(1)) })).toThrow(
      /resume with the model/,
    );
  });

  it('measure the norm of all gradients together', () =>
    expect(globalNorm([Float32Array.of(2, 3), Float32Array.of(6)])).toBe(7));
});

describe('average of weights', () => {
  it('is the sum of its parts', async () => {
    const model = create();
    const bias = model.params.bias as tf.Variable;
    const average = await averageWeights(parametersOf(model), 0.15);
    // Retains 1/10, then 0.15, because 2/11 would be more.
    for (const value of [4, 8]) {
      tf.tidy(() => bias.assign(tf.fill([2], value)));
      await average.update();
    }
    await average.swap();
    await expectClose(bias, Array(2).fill(0.15 * 0.9 * 4 + 0.85 * 8), 1e-6);
    await average.swap();
    await expectClose(bias, [8, 8], 0);
    const copy = await averageWeights(parametersOf(create(2)), 0.15);
    copy.restore(average.state());
    expect(copy.state()).toEqual(average.state());
  });
});
