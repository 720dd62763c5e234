import { createRandom, imageNetNormalization, materialize, pvtConfig, stateDict } from '@pvt/core';
import { parseSafetensors, readCheckpoint, writeSafetensors } from '@pvt/presets';
import { expectClose, expectNoLeak, useBackend } from '@pvt/testing';
import * as tf from '@tensorflow/tfjs-core';
import { readStateDict, stateEntries } from '@pvt/training';
import { beforeAll, describe, expect, it } from 'vitest';
import { createDetector, createSegmenter } from '@pvt/tasks';
import {
  anchorScaleFor,
  createClassificationLearner,
  createDetectionLearner,
  createSegmentationLearner,
  fromScratch,
} from './index.ts';

const config = pvtConfig({ version: 'v2', dims: [8, 16, 40, 64], depths: [1, 1, 1, 1], classes: 0 });
const names = ['ground', 'cell'];
const size = { shortSide: 64, longSide: 128, multiple: 32 };
const training = () => ({ training: true, random: createRandom(1) }) as const;
const inputs = Float32Array.from({ length: 2 * 64 * 64 * 3 }, (_, i) => Math.sin(i * i));
const shape = [2, 64, 64, 3] as const;

beforeAll(() => useBackend('wasm'));

const value = (loss: tf.Scalar): number => {
  const [number] = loss.dataSync();
  loss.dispose();
  return number!;
};

describe('createClassificationLearner', () => {
  const start = () =>
    createClassificationLearner({
      init: fromScratch({ ...config, classes: 2 }),
      names,
      size: [64, 64],
      smoothing: 0,
    });

  it('takes shares of classes as what they are: the loss of a mixture is the mixture of losses', async () => {
    const learner = start();
    const loss = (targets: number[], soft?: Float32Array) =>
      value(learner.loss({ inputs, shape, targets, ...(soft && { soft }) }, training()));
    const [zeros, ones] = [loss([0, 0]), loss([1, 1])];
    expect(
      Math.abs(loss([0, 0], Float32Array.of(0.3, 0.7, 0.3, 0.7)) - (0.3 * zeros + 0.7 * ones)),
    ).toBeLessThan(1e-6);
    await expectNoLeak(() => learner.loss({ inputs, shape, targets: [0, 1] }, training()).dispose());
    learner.dispose();
  });

  it('saves what it is: the same parameters, names and preprocessing', async () => {
    const learner = start();
    const checkpoint = readCheckpoint(learner.encode(await readStateDict(stateEntries(learner.models))), {
      config: { ...config, classes: 2 },
    });
    expect(checkpoint).toMatchObject({ labels: names, preprocessing: learner.preprocessing, unexpected: [] });
    const again = materialize(learner.models.spec, checkpoint.source, 'test');
    const [before, after] = [
      await stateDict(learner.models),
      await stateDict({ spec: learner.models.spec, params: again }),
    ];
    for (const [path, { values }] of before) expect(after.get(path)!.values).toEqual(values);
    tf.dispose(again as unknown as tf.TensorContainer);
    learner.dispose();
  });
});

describe.each([
  ['segmenter', () => createSegmentationLearner({ init: fromScratch(config), names, size })],
  ['detector', () => createDetectionLearner({ init: fromScratch(config), names, size, anchorScale: 2 })],
] as const)('a %s that learns', (kind, create) => {
  it('is the task that its file makes, to the bit', async () => {
    const learner = create();
    const bytes = learner.encode(await readStateDict(stateEntries(learner.models)));
    const image = {
      width: 80,
      height: 64,
      data: Uint8Array.from({ length: 80 * 64 * 3 }, (_, i) => (i * i) % 251),
    };
    const open = kind === 'segmenter' ? createSegmenter : createDetector;
    const outputs = async (task: { forward(image: object): Promise<object> }) => {
      const output = (await task.forward(image)) as {
        readonly logits?: tf.Tensor;
        readonly levels?: readonly { readonly logits: tf.Tensor }[];
      };
      return output.logits ?? output.levels![0]!.logits;
    };
    const [own, read] = [
      await open(learner.parts as never, { ...learner.options, warmUp: false }),
      await open(bytes, { config, warmUp: false }),
    ];
    expect(read.names).toEqual(names);
    await expectClose(await outputs(read as never), await (await outputs(own as never)).data(), 0);
    read.dispose();
    own.dispose();
  });
});

describe('the resize in the header', () => {
  const encoded = async () => {
    const learner = createSegmentationLearner({ init: fromScratch(config), names, size });
    const bytes = learner.encode(await readStateDict(stateEntries(learner.models)));
    learner.dispose();
    return parseSafetensors(bytes);
  };
  const headerWith = async (input: object | undefined) => {
    const { tensors } = await encoded();
    const metadata: Record<string, string> = input === undefined ? {} : { input: JSON.stringify(input) };
    return readCheckpoint(writeSafetensors(tensors, metadata), { config }).header;
  };

  it('is what training writes, and what it always did before it wrote so', async () => {
    const { metadata } = await encoded();
    const input = JSON.parse(metadata.get('input')!);
    expect(input).toEqual({ ...size, normalize: imageNetNormalization, resize: 'pillow' });
    expect((await headerWith(input)).input).toEqual({
      size,
      normalize: imageNetNormalization,
      resize: 'pillow',
    });
    expect((await headerWith({ ...input, resize: 'opencv' })).input?.resize).toBe('opencv');
    expect((await headerWith(size)).input?.resize).toBe('pillow');
    expect((await headerWith(undefined)).input?.resize).toBe(undefined);
    await expect(headerWith({ ...input, resize: 'nearest' })).rejects.toThrow(
      expect.objectContaining({ code: 'header-invalid' }),
    );
  });
});

it('retains a head of as many classes, and starts a new one if they differ', async () => {
  const learner = createSegmentationLearner({
    init: fromScratch(config),
    names,
    size,
    head: 'segFormer',
    channels: 16,
  });
  const checkpoint = readCheckpoint(learner.encode(await readStateDict(stateEntries(learner.models))), {
    config,
  });
  const same = createSegmentationLearner({ init: checkpoint, names, size });
  const other = createSegmentationLearner({ init: checkpoint, names: ['a', 'b', 'c'], size });
  const paths = (one: typeof learner) => stateEntries(one.models).map(({ path }) => path);
  expect(paths(same)).toEqual(paths(learner));
  expect(paths(other)).toContain('decode_head.blocks.0.conv1.conv.weight');
  for (const one of [learner, same, other]) one.dispose();
});

it('takes anchors no larger than small objects', () => {
  expect([40, 20, 10].map((side) => anchorScaleFor([side, side, 200]))).toEqual([4, 2, 1]);
  expect(() => anchorScaleFor([])).toThrow(expect.objectContaining({ code: 'objects-missing' }));
});
