import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import {
  toHuggingFaceConfig,
  fromFloat32,
  parseSafetensors,
  toFloat32,
  writeSafetensors,
  type TensorEntry,
} from '@pvt/presets';
import { createPvt, randomInit } from '@pvt/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../backend.ts';
import { folder, pvt, sample } from '../fixtures/capture.ts';
import { tinyBackbone, tinyConfig, tinyHead, writeTinyWeights } from '../fixtures/tinyModel.ts';

const inFolder = folder();
const weights = inFolder('tiny.safetensors');
const config = inFolder('tiny.json');
const input = inFolder('input.safetensors');
const [height, width] = [45, 70];
const values = Float32Array.from({ length: 2 * 3 * height * width }, (_, i) => Math.sin(i * i));
const nhwc = () => tf.transpose(tf.tensor4d(values, [2, 3, height, width]), [0, 2, 3, 1]) as tf.Tensor4D;

beforeAll(async () => {
  await startBackend('cpu', process);
  writeTinyWeights(weights);
  writeFileSync(config, JSON.stringify(tinyConfig));
  writeFileSync(input, writeSafetensors([['input', fromFloat32(values, [2, 3, height, width])]]));
});

const read = (path: string): ReadonlyMap<string, TensorEntry> => parseSafetensors(readFileSync(path)).tensors;

describe.each(['wasm', 'cpu'])('on %s', (backend) => {
  it("writes what the library's own forward gives", async () => {
    const out = inFolder(`${backend}.safetensors`);
    const before = tf.memory().numTensors;
    const { code, stderr } = await pvt(
      'features',
      input,
      '--weights',
      weights,
      '--config',
      config,
      '--out',
      out,
      '--attentions',
      '--backend',
      backend,
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(tf.memory().numTensors).toBe(before);

    const [backbone, head] = [tinyBackbone(), tinyHead()];
    const expected = tf.tidy(() => {
      const { pyramid, embedding, attentions } = backbone.forward(nhwc(), { attentions: true });
      const tensors = [
        ...pyramid.map(({ name, tensor }) => [name, tf.transpose(tensor, [0, 3, 1, 2])] as const),
        ['embedding', embedding] as const,
        ['logits', head.forward(embedding)] as const,
        ...attentions.flatMap((blocks, stage) =>
          blocks.map((map, block) => [`attention.${stage + 1}.${block}`, map] as const),
        ),
      ];
      return tensors.map(([name, tensor]) => ({
        name,
        shape: [...tensor.shape] as number[],
        values: tensor.dataSync<'float32'>(),
      }));
    });
    backbone.dispose();
    head.dispose();
    const written = read(out);
    expect([...written.keys()].sort()).toEqual(expected.map(({ name }) => name).sort());
    expect([...written.keys()]).toContain('attention.2.1');
    for (const { name, shape, values } of expected) {
      const entry = written.get(name)!;
      expect([name, entry.dtype, entry.shape]).toEqual([name, 'F32', shape]);
      expect(toFloat32(entry)).toEqual(values);
    }
    expect(readdirSync(inFolder('')).filter((name) => name.endsWith('.part'))).toEqual([]);
  });
});

it('draws the same random numbers from the same seed as the library', async () => {
  const out = inFolder('init.safetensors');
  const { code } = await pvt(
    'features',
    input,
    '--init',
    '7',
    '--config',
    config,
    '--out',
    out,
    '--backend',
    'cpu',
  );
  expect(code).toBe(0);
  const backbone = createPvt(tinyConfig, randomInit(7));
  const expected = tf.tidy(() => backbone.forward(nhwc()).embedding.dataSync());
  backbone.dispose();
  expect(toFloat32(read(out).get('embedding')!)).toEqual(expected);
});

it("takes Hugging Face's config.json for the same model", async () => {
  const theirs = inFolder('config.json');
  writeFileSync(theirs, JSON.stringify(toHuggingFaceConfig(tinyConfig, { layerNormEps: 1e-6 })));
  const line = ['features', input, '--weights', weights, '--json', '--backend', 'cpu'];
  const [a, b] = [await pvt(...line, '--config', theirs), await pvt(...line, '--config', config)];
  const results = (text: string) =>
    (JSON.parse(text) as { results: { shape: number[]; mean: number }[] }).results;
  expect(results(a.stdout).map(({ shape }) => shape)).toEqual(results(b.stdout).map(({ shape }) => shape));
  for (const [index, { mean }] of results(a.stdout).entries())
    expect(mean).toBeCloseTo(results(b.stdout)[index]!.mean, 3);
});

it('lets a config say only what differs from the variant', async () => {
  writeFileSync(inFolder('two.json'), '{"classes": 2}');
  const { stdout } = await pvt(
    'features',
    input,
    '--model',
    'pvt_v2_nano',
    '--init',
    '1',
    '--config',
    inFolder('two.json'),
    '--json',
  );
  expect((JSON.parse(stdout) as { results: unknown[] }).results.at(-1)).toMatchObject({
    name: 'logits',
    shape: [2, 2],
  });
});

it('measures what it prints', async () => {
  const out = inFolder('measured.safetensors');
  const { stdout } = await pvt('features', sample, '--model', 'pvt_v2_nano', '--out', out, '--json');
  const answer = JSON.parse(stdout) as {
    size: number[];
    out: string;
    results: {
      name: string;
      stride?: number;
      shape: number[];
      mean: number;
      std: number;
      min: number;
      max: number;
    }[];
  };
  expect({ size: answer.size, out: answer.out }).toEqual({ size: [64, 64], out });
  expect(answer.results.map(({ name, stride, shape }) => [name, stride, shape])).toEqual([
    ['stage1', 4, [1, 16, 16, 16]],
    ['stage2', 8, [1, 32, 8, 8]],
    ['stage3', 16, [1, 80, 4, 4]],
    ['stage4', 32, [1, 128, 2, 2]],
    ['embedding', undefined, [1, 128]],
    ['logits', undefined, [1, 10]],
  ]);
  for (const { name, mean, std, min, max } of answer.results) {
    const written = toFloat32(read(out).get(name)!);
    const average = written.reduce((a, b) => a + b, 0) / written.length;
    expect(mean).toBeCloseTo(average, 5);
    expect(std).toBeCloseTo(
      Math.sqrt(written.reduce((sum, value) => sum + (value - average) ** 2, 0) / written.length),
      5,
    );
    expect([min, max]).toEqual([Math.min(...written), Math.max(...written)]);
  }
});

it('draws a PNG', async () => {
  const plot = inFolder('pyramid.PNG');
  const plain = await pvt('features', sample, '--model', 'pvt_v2_nano', '--plot', plot);
  expect(plain.code).toBe(0);
  expect(plain.stdout).toContain(`written: ${plot}`);
  const size = (bytes: Buffer) => [bytes.readUInt32BE(16), bytes.readUInt32BE(20)] as const;
  const first = readFileSync(plot);
  expect(first.subarray(1, 4).toString()).toBe('PNG');
  await pvt('features', sample, '--model', 'pvt_v2_nano', '--plot', plot, '--attentions');
  const second = readFileSync(plot);
  expect(size(second)[0]).toBe(size(first)[0]);
  expect(size(second)[1]).toBeGreaterThan(size(first)[1]);
});

it.each([
  ['the class token', { version: 'v1', patchSizes: [4, 2, 2, 2] }],
  ['pooled keys', { version: 'v2', linear: true }],
])('draws attention to %s', async (name, fields) => {
  const path = inFolder('attention.json');
  const { dims, depths, heads, mlpRatios } = tinyConfig;
  writeFileSync(path, JSON.stringify({ dims, depths, heads, mlpRatios, imageSize: [32, 32], ...fields }));
  const small = inFolder('small.safetensors');
  writeFileSync(
    small,
    writeSafetensors([['input', fromFloat32(values.subarray(0, 3 * 32 * 64), [1, 3, 32, 64])]]),
  );
  const plot = inFolder(`${name}.png`);
  const { code, stderr } = await pvt(
    'features',
    small,
    '--config',
    path,
    '--init',
    '1',
    '--plot',
    plot,
    '--attentions',
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(readFileSync(plot).subarray(1, 4).toString()).toBe('PNG');
});

describe('inputs that are none', () => {
  it.each([
    ['another name', [['pixels', fromFloat32(new Float32Array(3), [1, 3, 1, 1])]], 'got pixels'],
    [
      'half precision',
      [['input', fromFloat32(new Float32Array(3), [1, 3, 1, 1], 'F16')]],
      'F16 (1, 3, 1, 1)',
    ],
    ['channels last', [['input', fromFloat32(new Float32Array(12), [1, 2, 2, 3])]], 'F32 (1, 2, 2, 3)'],
    ['no batch', [['input', fromFloat32(new Float32Array(12), [3, 2, 2])]], 'F32 (3, 2, 2)'],
    ['no images', [['input', fromFloat32(new Float32Array(0), [0, 3, 2, 2])]], 'F32 (0, 3, 2, 2)'],
    ['infinity', [['input', fromFloat32([1, 2, Infinity], [1, 3, 1, 1])]], 'not finite'],
    ['too small a size', [['input', fromFloat32(new Float32Array(3), [1, 3, 1, 1])]], 'larger image'],
  ] as const)('%s', async (_, entries, complaint) => {
    const path = inFolder('wrong.safetensors');
    writeFileSync(path, writeSafetensors(entries));
    const out = inFolder('never.safetensors');
    const { code, stdout, stderr } = await pvt('features', path, '--model', 'pvt_v2_nano', '--out', out);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^pvt: .+\.\n$/);
    expect(stderr).toContain(complaint);
    expect(existsSync(out)).toBe(false);
  });
});
