import * as tf from '@tensorflow/tfjs-core';
import { expectClose, expectNoLeak, useBackend } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { pvtConfig, type PvtConfig } from '../config.ts';
import { DisposedError } from '../errors.ts';
import { stateDict } from '../params/materialize.ts';
import { fromStateDict, randomInit } from '../params/source.ts';
import { createRandom } from '../random.ts';
import { cost } from './cost.ts';
import type { ForwardContext } from '../ops/dropout.ts';
import { createPvt, type PvtRequest } from './pvt.ts';

const small = { dims: [8, 16, 20, 32], depths: [1, 2, 1, 1], classes: 10 } as const;
const configs: Record<string, PvtConfig> = {
  v1: pvtConfig({ version: 'v1', imageSize: [64, 64], ...small }),
  'v1 dense': pvtConfig({ version: 'v1', imageSize: [64, 64], classToken: false, ...small }),
  v2: pvtConfig({ version: 'v2', ...small }),
  'v2 linear': pvtConfig({ version: 'v2', linear: true, ...small }),
};
const image = (height: number, width: number, batch = 1, channels = 3) =>
  tf.randomNormal([batch, height, width, channels], 0, 1, 'float32', 7) as tf.Tensor4D;
const release = (output: unknown) => tf.dispose(output as tf.TensorContainer);

beforeAll(() => useBackend('wasm'));

describe.each(Object.entries(configs))('%s', (name, config) => {
  it.each([
    [64, 64],
    [112, 448],
    [97, 131],
    [96, 64],
  ] as const)('returns the pyramid that cost() predicts at %ix%i', async (height, width) => {
    await expectNoLeak(() => {
      const model = createPvt(config, randomInit(1));
      const input = image(height, width, 2);
      const output = model.forward(input, { tokens: true, attentions: true, hiddenStates: true });
      const { stages } = cost(config, [height, width]);
      expect(output.pyramid.map(({ stride, channels, tensor }) => [stride, channels, tensor.shape])).toEqual(
        stages.map(({ stride, grid }, i) => [stride, small.dims[i], [2, ...grid, small.dims[i]!]]),
      );
      expect(output.tokens.map(({ shape }) => shape)).toEqual(
        stages.map(({ tokens }, i) => [2, tokens, small.dims[i]!]),
      );
      expect(output.attentions.map((blocks) => blocks.map(({ shape }) => shape))).toEqual(
        stages.map(({ attentionMap }, i) => Array(small.depths[i]!).fill([2, ...attentionMap])),
      );
      expect(output.hiddenStates.map((states) => states.length)).toEqual(
        small.depths.map((depth) => depth + 1),
      );
      expect(output.embedding.shape).toEqual([2, 32]);
      release(output);
      input.dispose();
      model.dispose();
    });
  });

  it('computes the same whatever else is asked for', async () => {
    const model = createPvt(config, randomInit(1));
    const input = image(64, 96);
    const plain = model.forward(input);
    const full = model.forward(input, { tokens: true, attentions: true, hiddenStates: true });
    for (const [i, { tensor }] of plain.pyramid.entries())
      await expectClose(full.pyramid[i]!.tensor, await tensor.data(), 0);
    await expectClose(full.embedding, await plain.embedding.data(), 0);
    const some = model.forward(input, { stages: [2, 0] });
    expect(some.pyramid.map(({ name }) => name)).toEqual(['stage1', 'stage3']);
    expect(some.embedding).toBe(undefined);
    await expectClose(some.pyramid[1]!.tensor, await plain.pyramid[2]!.tensor.data(), 0);
    model.dispose();
  });

  it('leaves no tensor behind, outputs freed, whatever was asked for', async () => {
    const model = createPvt(config, randomInit(1));
    const input = image(64, 64);
    const requests: (PvtRequest & ForwardContext)[] = [
      {},
      { stages: [1] },
      { stages: [3], tokens: true },
      { hiddenStates: true, attentions: true },
      { training: true, random: createRandom(1) },
    ];
    for (const request of requests) {
      await expectNoLeak(() => release(model.forward(input, request)));
    }
    model.dispose();
  });

  it('attends with probabilities', async () => {
    const model = createPvt(config, randomInit(1));
    for (const map of model.forward(image(64, 64), { attentions: true }).attentions.flat()) {
      const sums = tf.sum(map, -1);
      await expectClose(sums, new Float32Array(sums.size).fill(1), 1e-5);
    }
    model.dispose();
  });

  it('treats the images of a batch apart', async () => {
    const model = createPvt(config, randomInit(1));
    const batch = image(64, 64, 3);
    const whole = model.forward(batch).embedding;
    for (let i = 0; i < 3; i++) {
      const alone = model.forward(tf.slice(batch, [i], [1])).embedding;
      await expectClose(alone, await tf.slice(whole, [i], [1]).data(), 2e-6);
    }
    model.dispose();
  });

  it('is rebuilt from its own state, with the same results', async () => {
    const model = createPvt(config, randomInit(5));
    const copy = createPvt(config, fromStateDict(await stateDict(model)));
    const input = image(64, 64);
    await expectClose(copy.forward(input).embedding, await model.forward(input).embedding.data(), 0);
    model.dispose();
    copy.dispose();
  });

  it('draws its noise from the seed while training', async () => {
    const noisy = pvtConfig({ ...config, dropout: 0.1, attentionDropout: 0.1, dropPath: 0.5 });
    const model = createPvt(noisy, randomInit(1));
    const input = image(64, 64, 4);
    const run = (seed: number) =>
      model.forward(input, { training: true, random: createRandom(seed) }).embedding.dataSync();
    expect(run(1)).toEqual(run(1));
    expect(run(1)).not.toEqual(run(2));
    expect(run(1)).not.toEqual(model.forward(input).embedding.dataSync());
    model.dispose();
  });

  it(`rejects invalid inputs (${name})`, () => {
    const model = createPvt(config, randomInit(1));
    const before = tf.memory().numTensors;
    const input = image(64, 64);
    expect(() => model.forward(tf.zeros([64, 64, 3]) as unknown as tf.Tensor4D)).toThrow(/add a batch axis/);
    expect(() => model.forward(tf.zeros([1, 3, 64, 64]))).toThrow(/transpose channels/);
    expect(() => model.forward(tf.zeros([1, 64, 64, 3], 'int32'))).toThrow(/got int32/);
    expect(() => model.forward(input, { stages: [4] })).toThrow(/stages between 0 and 3/);
    expect(() => model.forward(input, { stages: [] })).toThrow(/at least one/);
    if (!(config.version === 'v2' && config.linear))
      expect(() => model.forward(image(16, 64))).toThrow(/stage 1 map is at least 8x8/);
    tf.dispose(input);
    expect(tf.memory().numTensors - before).toBeLessThanOrEqual(4);
    model.dispose();
    model.dispose();
    expect(() => model.forward(input)).toThrow(DisposedError);
  });
});

describe('backbone', () => {
  it('supports any number of channels and stages', () => {
    const config = pvtConfig({
      version: 'v2',
      channels: 5,
      dims: [8, 12, 16],
      depths: [1, 1, 1],
      heads: [1, 2, 4],
      mlpRatios: [2, 2, 2],
      reductions: [4, 2, 1],
      patchSizes: [3, 3, 3],
      strides: [2, 2, 2],
    });
    const model = createPvt(config, randomInit(1));
    expect(model.features).toEqual([
      { name: 'stage1', stride: 2, channels: 8 },
      { name: 'stage2', stride: 4, channels: 12 },
      { name: 'stage3', stride: 8, channels: 16 },
    ]);
    expect(model.forward(image(33, 47, 1, 5)).pyramid.map(({ tensor }) => tensor.shape)).toEqual([
      [1, 17, 24, 8],
      [1, 9, 12, 12],
      [1, 5, 6, 16],
    ]);
    model.dispose();
  });

  it('works without biases on queries, keys and values', () => {
    const model = createPvt(pvtConfig({ version: 'v2', qkvBias: false, ...small }), randomInit(1));
    expect('bias' in model.params.stages[0]!.blocks[0]!.attn.q).toBe(false);
    expect(model.forward(image(64, 64)).embedding.shape).toEqual([1, 32]);
    model.dispose();
  });

  it('starts with the same numbers on every backend', async () => {
    const onWasm = await stateDict(createPvt(configs['v2']!, randomInit(3)));
    await useBackend('cpu');
    const onCpu = await stateDict(createPvt(configs['v2']!, randomInit(3)));
    await useBackend('wasm');
    expect(onCpu).toEqual(onWasm);
  });

  it('starts as the official code does', async () => {
    const state = await stateDict(
      createPvt(pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [1, 1, 1, 1] }), randomInit(1)),
    );
    const std = (path: string) => {
      const { values } = state.get(path)!;
      return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
    };
    // timm's trunc_normal_(std=.02) for linear layers; √(2 / fan-out) for convolutions, groups divided out.
    expect(std('stages.2.blocks.0.mlp.fc1.weight')).toBeCloseTo(0.02, 3);
    expect(std('stages.3.patch_embed.proj.weight')).toBeCloseTo(Math.sqrt(2 / (9 * 256)), 3);
    expect(std('stages.3.blocks.0.mlp.dwconv.weight')).toBeCloseTo(Math.sqrt(2 / 9), 1);
    expect(std('stages.0.norm.weight')).toBe(1);
    expect(std('stages.0.blocks.0.attn.q.bias')).toBe(0);
  });

  it('holds at most 25 MB beyond the weights for b0 at 224x224', async () => {
    const model = createPvt(
      pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2] }),
      randomInit(1),
    );
    const input = image(224, 224);
    const before = tf.memory().numBytes;
    const { peakBytes } = await tf.profile(() => {
      release(model.forward(input));
      return tf.scalar(0);
    });
    expect((peakBytes - before) / 1e6).toBeLessThanOrEqual(25);
    model.dispose();
  });
});
