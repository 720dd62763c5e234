import { readFileSync, writeFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { fromFloat32, writeSafetensors } from '@pvt/presets';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../backend.ts';
import { folder, pvt, sample } from '../fixtures/capture.ts';
import { tinyBackbone, tinyConfig, tinyHead, writeTinyWeights } from '../fixtures/tinyModel.ts';

const inFolder = folder();
const weights = inFolder('tiny.safetensors');
const config = inFolder('tiny.json');
const input = inFolder('input.safetensors');
const values = Float32Array.from({ length: 2 * 3 * 40 * 33 }, (_, i) => Math.sin(i * i));

beforeAll(async () => {
  await startBackend('cpu', process);
  writeTinyWeights(weights);
  writeFileSync(config, JSON.stringify(tinyConfig));
  writeFileSync(input, writeSafetensors([['input', fromFloat32(values, [2, 3, 40, 33])]]));
});

interface Result {
  readonly input: string;
  readonly predictions: readonly {
    readonly index: number;
    readonly label?: string;
    readonly probability: number;
    readonly logit: number;
  }[];
}

const resultsOf = (stdout: string) => JSON.parse(stdout) as Result[];

describe.each(['wasm', 'cpu'])('on %s', (backend) => {
  it('recognizes the ship with the embedded checkpoint', async () => {
    const { code, stdout, stderr } = await pvt('classify', sample, '--json', '--backend', backend);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [{ predictions } = { predictions: [] }] = resultsOf(stdout);
    expect(predictions[0]?.label).toBe('ship');
    expect(predictions).toHaveLength(5);
  });

  it("gives the library's own logits, and their softmax", async () => {
    const line = [
      'classify',
      input,
      '--weights',
      weights,
      '--config',
      config,
      '--json',
      '--backend',
      backend,
    ];
    const { stdout } = await pvt(...line);
    const [backbone, head] = [tinyBackbone(), tinyHead()];
    const expected = tf.tidy(() => {
      const nhwc = tf.transpose(tf.tensor4d(values, [2, 3, 40, 33]), [0, 2, 3, 1]);
      return head.forward(backbone.forward(nhwc).embedding).arraySync();
    });
    backbone.dispose();
    head.dispose();
    for (const [row, { input: name, predictions }] of resultsOf(stdout).entries()) {
      expect(name).toBe(`${input}[${row}]`);
      for (const { index, logit } of predictions) expect(logit).toBe(expected[row]![index]);
      expect(predictions.map(({ logit }) => logit)).toEqual([...expected[row]!].sort((a, b) => b - a));
      expect(predictions.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 12);
      expect(Math.log(predictions[0]!.probability / predictions[2]!.probability)).toBeCloseTo(
        predictions[0]!.logit - predictions[2]!.logit,
        9,
      );
    }
  });
});

it('gives the same on threads, of images and of prepared tensors', async () => {
  const line = ['--weights', weights, '--config', config, '--json', '--backend', 'cpu'];
  const [one, two] = [
    await pvt('classify', sample, input, ...line),
    await pvt('classify', sample, input, ...line, '--threads', '2'),
  ];
  expect([one.code, two.code, two.stderr]).toEqual([0, 0, one.stderr]);
  const [expected, found] = [resultsOf(one.stdout), resultsOf(two.stdout)];
  expect(found.map(({ input: name }) => name)).toEqual([sample, `${input}[0]`, `${input}[1]`]);
  for (const [i, { predictions }] of found.entries()) {
    expect(predictions.map(({ index }) => index)).toEqual(expected[i]!.predictions.map(({ index }) => index));
    for (const [j, { logit, probability }] of predictions.entries()) {
      expect(logit).toBeCloseTo(expected[i]!.predictions[j]!.logit, 5);
      expect(probability).toBeCloseTo(expected[i]!.predictions[j]!.probability, 6);
    }
  }
  const { stdout } = await pvt('classify', sample, ...line.slice(0, 4), '--threads', '2');
  expect(stdout.split('\n')[0]).toMatch(/; 2 threads$/);
  const { code, stderr } = await pvt('classify', sample, '--threads', '0');
  expect([code, stderr]).toEqual([
    2,
    expect.stringContaining('expected a whole number from 1 to 64, such as 2'),
  ]);
});

it('shows a line for each prediction', async () => {
  const { code, stdout } = await pvt('classify', sample, '--top', '3');
  expect(code).toBe(0);
  const lines = stdout.trimEnd().split('\n');
  expect(lines[2]).toContain('480x640');
  expect(lines.slice(3)).toEqual([
    expect.stringMatching(/^ {2}ship +\d+\.\d % {2}█/),
    expect.stringContaining(' % '),
    expect.stringContaining(' % '),
  ]);
});

it('reports a broken image and continues with the others', async () => {
  const cut = inFolder('cut.png');
  writeFileSync(cut, readFileSync(sample).subarray(0, 5000));
  const { code, stdout, stderr } = await pvt(
    'classify',
    cut,
    sample,
    'nowhere.png',
    sample,
    '--json',
    '--top',
    '1',
  );
  expect(code).toBe(1);
  expect(resultsOf(stdout).map(({ input: name, predictions }) => [name, predictions?.[0]?.label])).toEqual([
    [cut, undefined],
    [sample, 'ship'],
    ['nowhere.png', undefined],
    [sample, 'ship'],
  ]);
  expect(stderr.trimEnd().split('\n')).toEqual([
    expect.stringContaining(`pvt: ${cut}: `),
    expect.stringContaining('pvt: nowhere.png: '),
  ]);
});

describe('labels', () => {
  it.each([
    ['lines', 'aa\nbb\r\ncc\n'],
    ['a byte order mark', '\uFEFFaa\nbb\ncc'],
    ['an array', '["aa", "bb", "cc"]'],
    ['an object', '{"2": "cc", "0": "aa", "1": "bb"}'],
    ['a Hugging Face config', '{"model_type": "pvt", "id2label": {"0": "aa", "1": "bb", "2": "cc"}}'],
    ['a table', 'index\tsynset\tnames\n2\tn3\tcc\n0\tn1\taa\n1\tn2\tbb\n'],
  ])('from %s', async (_, text) => {
    writeFileSync(inFolder('labels'), text);
    const { code, stdout, stderr } = await pvt(
      'classify',
      input,
      '--weights',
      weights,
      '--config',
      config,
      '--labels',
      inFolder('labels'),
      '--json',
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const { predictions } of resultsOf(stdout)) {
      for (const { index, label } of predictions) expect(label).toBe(['aa', 'bb', 'cc'][index]);
    }
  });

  it.each([
    ['nothing', '', 'an empty file'],
    ['two names for three classes', 'aa\nbb', 'got 2'],
    ['an empty line', 'aa\n\ncc', 'an empty line 2'],
    ['numbers', '[1, 2, 3]', 'an array of names'],
    ['an object with a gap', '{"0": "aa", "2": "cc", "3": "dd"}', 'id2label[1]'],
    ['broken JSON', '["aa", ', 'JSON'],
    ['a table without names', 'index\tsynset\n0\tn1', 'a column called name'],
    ['a table with a class twice', 'index\tname\n0\taa\n0\tbb', 'line 3'],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x00, 0xd8]), 'UTF-8'],
  ])('refuses %s', async (_, text, complaint) => {
    writeFileSync(inFolder('labels'), text);
    const { code, stdout, stderr } = await pvt(
      'classify',
      input,
      '--weights',
      weights,
      '--config',
      config,
      '--labels',
      inFolder('labels'),
    );
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(complaint);
  });
});
