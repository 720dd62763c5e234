import * as tf from '@tensorflow/tfjs-core';
import { createModel, linear, linearSpec, randomInit } from '@pvt/core';
import { useBackend } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { createToy, toyData, type ToyBatch } from './fixtures/toy.ts';
import {
  adamW,
  headOnly,
  loadWeights,
  parametersOf,
  readStateDict,
  train,
  TrainingError,
  warmupCosine,
  type Snapshot,
  type TrainEvent,
  type TrainOptions,
} from './index.ts';

beforeAll(() => useBackend('wasm'));

type Options = Partial<TrainOptions<ToyBatch>>;
const settings: Options = {
  data: toyData(5),
  optimizer: adamW({ learningRate: 1e-2 }),
  schedule: warmupCosine({ warmup: 0.2 }),
  epochs: 2,
  clip: 1,
  average: 0.9,
  accumulate: 2,
  seed: 3,
  saveEvery: 0,
};

/** All events of a run of a fresh toy. */
async function run(
  options: Options = {},
  toy = createToy(),
  until: (event: TrainEvent) => boolean = () => false,
): Promise<{ events: TrainEvent[]; snapshots: Snapshot[]; toy: typeof toy }> {
  const events: TrainEvent[] = [];
  const snapshots: Snapshot[] = [];
  const store = {
    save: (kind: string, snapshot: Snapshot) => void (kind === 'last' && snapshots.push(snapshot)),
  };
  for await (const event of train(toy.models, {
    ...(settings as TrainOptions<ToyBatch>),
    loss: toy.loss,
    store,
    ...options,
  })) {
    events.push(event);
    if (until(event)) break;
  }
  return { events, snapshots, toy };
}

const curve = (events: readonly TrainEvent[]) =>
  events.flatMap((event) =>
    event.kind === 'step' ? [[event.step, event.loss, event.gradientNorm, event.learningRate]] : [],
  );
const lasting = (snapshot: Snapshot): Snapshot => ({
  ...snapshot,
  progress: { ...snapshot.progress, seconds: 0 },
});
const doneOf = (events: readonly TrainEvent[]) => events.filter((event) => event.kind === 'done')[0]!;

describe('a run', () => {
  it('reports steps, epochs, validations, checkpoints and its end', async () => {
    const scores = [0.5, 0.25];
    const { events } = await run({
      validate: () => ({ score: scores.shift()!, other: 7 }),
      examplesIn: ({ labels }) => labels.length,
    });
    const kinds = events
      .map((event) => ('which' in event ? event.which : event.kind))
      .filter((kind) => kind !== 'last');
    expect(kinds).toEqual([
      'step',
      'step',
      'step',
      'epoch',
      'validation',
      'best',
      'step',
      'step',
      'step',
      'epoch',
      'validation',
      'done',
    ]);
    const [epoch] = events.filter((event) => event.kind === 'epoch');
    expect(epoch).toMatchObject({
      epoch: 1,
      step: 3,
      loss:
        curve(events)
          .slice(0, 3)
          .reduce((sum, [, loss]) => sum + loss!, 0) / 3,
    });
    expect(events.filter((event) => event.kind === 'validation')).toEqual([
      { kind: 'validation', step: 3, epoch: 1, metrics: { score: 0.5, other: 7 }, best: true },
      { kind: 'validation', step: 6, epoch: 2, metrics: { score: 0.25, other: 7 }, best: false },
    ]);
    expect(doneOf(events)).toMatchObject({ reason: 'finished', step: 6, best: { step: 3 } });
    const last = events.filter((event) => event.kind === 'step').at(-1)!;
    expect(last).toMatchObject({ epoch: 2, progress: 1, secondsLeft: 0 });
    expect(JSON.parse(JSON.stringify(doneOf(events).snapshot.progress))).toEqual(
      doneOf(events).snapshot.progress,
    );
  });

  it('is the same for the same seed, and different for another', async () => {
    const [one, two, other] = [await run(), await run(), await run({ seed: 4 })];
    expect(curve(two.events)).toEqual(curve(one.events));
    expect(lasting(two.snapshots.at(-1)!)).toEqual(lasting(one.snapshots.at(-1)!));
    expect(curve(other.events)[0]).not.toEqual(curve(one.events)[0]);
  });

  it.each([1, 3, 4])('continues bit for bit after step %i', async (step) => {
    const validate = () => ({ score: 1 });
    const whole = await run({ validate });
    const broken = await run(
      { validate },
      createToy(),
      (event) => event.kind === 'checkpoint' && event.which === 'last' && event.step === step,
    );
    const resumed = await run({ validate, resume: broken.snapshots.at(-1)! });
    expect(curve(resumed.events)).toEqual(curve(whole.events).slice(step));
    expect(lasting(resumed.snapshots.at(-1)!)).toEqual(lasting(whole.snapshots.at(-1)!));
  });

  it('continues bit for bit after a stop at the end of an epoch, and validates it', async () => {
    const [all, parts] = [
      [0.5, 0.25],
      [0.5, 0.25],
    ];
    const whole = await run({ validate: () => ({ score: all.shift()! }) });
    const controller = new AbortController();
    const stopped = await run(
      { validate: () => ({ score: parts.shift()! }), signal: controller.signal },
      createToy(),
      (event) => {
        if (event.kind === 'step' && event.step === 3) controller.abort();
        return false;
      },
    );
    const resumed = await run({
      validate: () => ({ score: parts.shift()! }),
      resume: stopped.snapshots.at(-1)!,
    });
    expect(lasting(resumed.snapshots.at(-1)!)).toEqual(lasting(whole.snapshots.at(-1)!));
  });

  it('learns', async () => {
    const { events } = await run({ data: toyData(20), epochs: 2, accumulate: 1 }, createToy({ dropPath: 0 }));
    const losses = curve(events).map(([, loss]) => loss!);
    const mean = (some: number[]) => some.reduce((a, b) => a + b, 0) / some.length;
    expect(mean(losses.slice(-8))).toBeLessThan(0.5 * mean(losses.slice(0, 8)));
  });

  it('takes a step over two accumulated batches like one over both', async () => {
    const model = createModel(
      'probe',
      linearSpec(2, 1),
      randomInit(1),
      (params) => (x: tf.Tensor2D) => linear(x, params),
    );
    const start = await readStateDict(parametersOf(model));
    const gradientNorms: number[] = [];
    for (const [rows, accumulate] of [
      [
        [
          [1, 2],
          [3, 4],
        ],
        1,
      ],
      [[[1, 2]], 2],
    ] as const) {
      loadWeights(model, start);
      const data = { length: accumulate, batches: () => (accumulate === 1 ? [rows] : [[[1, 2]], [[3, 4]]]) };
      const loss = (batch: readonly (readonly number[])[]) =>
        tf.tidy(() => tf.mean(tf.square(model.forward(tf.tensor2d(batch as number[][]))))) as tf.Scalar;
      for await (const event of train(model, {
        data,
        loss,
        optimizer: adamW({ learningRate: 0.1 }),
        epochs: 1,
        accumulate,
      }))
        if (event.kind === 'step') gradientNorms.push(event.gradientNorm);
    }
    expect(gradientNorms[1]).toBeCloseTo(gradientNorms[0]!, 6);
  });

  it('changes only the selected parameters', async () => {
    const toy = createToy();
    const before = await readStateDict(parametersOf(toy.models));
    await run({ select: headOnly }, toy);
    const after = await readStateDict(parametersOf(toy.models));
    const changed = [...before]
      .filter(([path, { values }]) => values.some((value, i) => value !== after.get(path)!.values[i]))
      .map(([path]) => path);
    expect(changed).toEqual(['head.bn.weight', 'head.bn.bias', 'head.fc.weight', 'head.fc.bias']);
  });

  it('validates and saves the average, and continues with the weights', async () => {
    const toy = createToy();
    const seen: number[] = [];
    const { events } = await run(
      { validate: () => ({ score: seen.push(toy.models.head.params.fc.bias!.dataSync()[0]!) }) },
      toy,
    );
    const { snapshot } = doneOf(events);
    expect(seen[1]).toBe(snapshot.average!.get('head.fc.bias')!.values[0]);
    expect(toy.models.head.params.fc.bias!.dataSync()[0]).toBe(
      snapshot.weights.get('head.fc.bias')!.values[0],
    );
    expect(snapshot.average!.get('head.bn.running_mean')).not.toEqual(
      snapshot.weights.get('head.bn.running_mean'),
    );
    expect([...snapshot.average!.keys()]).toEqual([...snapshot.weights.keys()]);
  });

  it('needs as much memory for 60 steps as for 10', async () => {
    const toy = createToy();
    const seen: { tensors: number; bytes: number }[] = [];
    await run({ data: toyData(30, 2), accumulate: 1, store: { save() {} } }, toy, (event) => {
      if (event.kind === 'step') seen.push({ tensors: tf.memory().numTensors, bytes: tf.memory().numBytes });
      return false;
    });
    expect(seen).toHaveLength(60);
    expect(seen.at(-1)).toEqual(seen[9]);
  });
});

describe('a run ends', () => {
  it('on an abort, with its state saved', async () => {
    const controller = new AbortController();
    const { events, snapshots } = await run(
      { signal: controller.signal, saveEvery: 1e9, validate: () => ({ score: 1 }) },
      createToy(),
      (event) => {
        if (event.kind === 'step' && event.step === 2) controller.abort();
        return false;
      },
    );
    expect(doneOf(events)).toMatchObject({ reason: 'aborted', step: 2 });
    expect(snapshots.map(({ progress }) => progress.step)).toEqual([2]);
    expect(events.some((event) => event.kind === 'validation')).toBe(false);
  });

  it('when patience is exhausted', async () => {
    const scores = [0.1, 0.5, 0.4, 0.3, 0.9];
    const { events } = await run({
      epochs: 10,
      data: toyData(1, 2),
      accumulate: 1,
      patience: 2,
      validate: () => ({ score: scores.shift()! }),
    });
    expect(doneOf(events)).toMatchObject({ reason: 'patience', step: 4, best: { step: 2 } });
  });

  it('when the time is up, fully annealed and validated', async () => {
    const { epochs: _, ...timed } = settings;
    const toy = createToy();
    const events: TrainEvent[] = [];
    for await (const event of train(toy.models, {
      ...(timed as TrainOptions<ToyBatch>),
      data: toyData(7),
      accumulate: 1,
      loss: toy.loss,
      minutes: 0.02,
      schedule: (progress) => 1 - progress,
      validate: () => ({ score: 1 }),
    }))
      events.push(event);
    const steps = events.filter((event) => event.kind === 'step');
    expect(doneOf(events).reason).toBe('time');
    expect(doneOf(events).seconds).toBeGreaterThanOrEqual(1.2);
    expect(steps.at(-1)!.progress).toBe(1);
    expect(steps.at(-1)!.learningRate).toBeLessThan(steps[0]!.learningRate);
    expect(events.at(-2)!.kind).toBe('validation');
  });
});

describe('non-finite numbers', () => {
  const failure = async (options: Options, toy = createToy()): Promise<TrainingError> => {
    try {
      await run(options, toy);
    } catch (error) {
      if (error instanceof TrainingError) return error;
      throw error;
    }
    throw new Error('expected the run to stop');
  };
  const fillWithNan = (variable: tf.Tensor) =>
    tf.tidy(() => (variable as tf.Variable).assign(tf.fill(variable.shape, NaN)));

  it('in a parameter', async () => {
    const toy = createToy();
    fillWithNan(toy.models.backbone.params.stages[2]!.blocks[0]!.mlp.fc1.bias!);
    const error = await failure({}, toy);
    expect(error).toMatchObject({
      code: 'not-finite',
      step: 1,
      where: 'backbone.stages.2.blocks.0.mlp.fc1.bias',
    });
    expect(error.message).toMatch(/in step 1, first in backbone/);
  });

  it('in the input of a step', async () => {
    const data = toyData(5);
    const bad = {
      ...data,
      *batches(epoch: number) {
        for (const [i, batch] of [...(data.batches(epoch) as Iterable<ToyBatch>)].entries())
          yield i === 2 ? { ...batch, pixels: batch.pixels.fill(Infinity, 0, 1) } : batch;
      },
    };
    expect(await failure({ data: bad, accumulate: 1 })).toMatchObject({ step: 3, where: 'input' });
  });

  it('in a block that overflows', async () => {
    const toy = createToy({ dropPath: 0 });
    const { norm1 } = toy.models.backbone.params.stages[1]!.blocks[0]!;
    tf.tidy(() => (norm1.weight as tf.Variable).assign(tf.fill(norm1.weight.shape, 3e38)));
    expect(await failure({}, toy)).toMatchObject({ where: 'stages.1.blocks.0' });
  });

  it('after the backbone', async () => {
    const toy = createToy();
    expect(
      await failure(
        { loss: (batch, context) => tf.tidy(() => tf.log(tf.neg(tf.abs(toy.loss(batch, context))))) },
        toy,
      ),
    ).toMatchObject({ step: 1, where: 'what follows stages.3.norm' });
  });

  it('only in a gradient', async () => {
    const toy = createToy();
    // √0 is 0, its gradient infinite.
    const loss: TrainOptions<ToyBatch>['loss'] = (batch, context) =>
      tf.tidy(() =>
        tf.add(toy.loss(batch, context), tf.sum(tf.sqrt(tf.mul(toy.models.head.params.fc.bias!, 0)))),
      );
    expect(await failure({ loss }, toy)).toMatchObject({
      code: 'not-finite',
      where: 'the gradient of head.fc.bias',
    });
  });
});

describe('options', () => {
  it.each([
    [{ epochs: 0 }, /epochs to be a positive integer, got 0/],
    [{ accumulate: 1.5 }, /accumulate to be a positive integer/],
    [{ average: 1 }, /decay of the average/],
    [{ data: { length: 0, batches: () => [] } }, /data.length/],
    [{ data: { length: 2, batches: () => [] } }, /2 batches per epoch, got fewer/],
  ] as const)('%j is refused', async (options, message) => {
    await expect(run(options as Options)).rejects.toThrow(message);
  });

  it('are refused without an end', async () => {
    const { epochs: _, ...endless } = settings;
    const toy = createToy();
    await expect(
      train(toy.models, { ...(endless as TrainOptions<ToyBatch>), loss: toy.loss }).next(),
    ).rejects.toThrow(/epochs or minutes/);
  });

  it('resume only a snapshot of the same run', async () => {
    const { snapshots } = await run({ epochs: 1 });
    const [snapshot] = snapshots;
    await expect(run({ resume: snapshot!, seed: 9 })).rejects.toThrow(/of seed 9, got one of seed 3/);
    await expect(run({ resume: { ...snapshot!, weights: new Map() } })).rejects.toThrow(
      /weights of this model/,
    );
  });
});
