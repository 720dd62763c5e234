import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readImage } from '@pvt/adapter-image';
import { checkpoints } from '@pvt/checkpoints';
import { rleFromString, rleToMask } from '@pvt/heads';
import { fromFloat32, parseSafetensors, toFloat32, writeSafetensors } from '@pvt/presets';
import { createSegmenter } from '@pvt/tasks';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../backend.ts';
import { folder, pvt, sample } from '../fixtures/capture.ts';
import { tinyBody, writeTinyDetector, writeTinySegmenter } from '../fixtures/tinyHeads.ts';

const inFolder = folder();
const weights = inFolder('segmenter.safetensors');
const config = inFolder('tiny.json');
const labels = inFolder('labels.txt');
const input = inFolder('input.safetensors');
const shape = [2, 3, 64, 96] as const;
const values = Float32Array.from({ length: 2 * 3 * 64 * 96 }, (_, i) => Math.sin(i * i));
const line = [
  '--weights',
  weights,
  '--config',
  config,
  '--size',
  '128x96',
  '--labels',
  labels,
  '--backend',
  'cpu',
];

beforeAll(async () => {
  await startBackend('cpu', process);
  writeTinySegmenter(weights);
  writeFileSync(config, JSON.stringify(tinyBody));
  writeFileSync(labels, 'sky\nsea\nship\nfoam\n');
  writeFileSync(input, writeSafetensors([['input', fromFloat32(values, shape)]]));
});

interface Result {
  readonly input: string;
  readonly size: readonly [number, number];
  readonly classes: readonly {
    readonly label?: number;
    readonly name?: string;
    readonly unsure?: true;
    readonly pixels: number;
    readonly share: number;
    readonly segmentation: { readonly size: readonly [number, number]; readonly counts: string };
  }[];
  readonly error?: string;
}

const resultsOf = (stdout: string) => JSON.parse(stdout) as Result[];
const library = () =>
  createSegmenter(readFileSync(weights), { config: tinyBody, size: { shortSide: 96, longSide: 128 } });

/** The label map that run lengths add up to, with 65535 where no class has a pixel. */
function mapOf({ size: [height, width], classes }: Result): Uint16Array {
  const map = new Uint16Array(height * width).fill(65_535);
  for (const { label = 65_535, segmentation } of classes) {
    for (const [i, inRun] of rleToMask({
      ...segmentation,
      counts: rleFromString(segmentation.counts),
    }).labels.entries())
      if (inRun === 1) map[i] = label;
  }
  return map;
}

const differing = (a: Uint16Array, b: Uint16Array): number =>
  a.length === b.length ? a.filter((value, i) => value !== b[i]).length : Infinity;

describe.each(['wasm', 'cpu'])('on %s', (backend) => {
  it("gives the library's own labels and logits of an image", async () => {
    const out = inFolder(`${backend}.safetensors`);
    await startBackend(backend as 'wasm' | 'cpu', process);
    const before = tf.memory().numTensors;
    const { code, stdout, stderr } = await pvt(
      'segment',
      sample,
      ...line.slice(0, -1),
      backend,
      '--out',
      out,
      '--json',
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(tf.memory().numTensors).toBe(before);

    const segmenter = await library();
    const image = await readImage(sample);
    const map = await segmenter.segment(image);
    const { logits } = await segmenter.forward(image);
    const expected = tf.transpose(logits, [0, 3, 1, 2]);
    const [result] = resultsOf(stdout);
    expect(differing(mapOf(result!), map.labels)).toBe(0);
    expect(result!.classes.reduce((sum, { pixels }) => sum + pixels, 0)).toBe(480 * 640);
    for (const { label, name } of result!.classes) expect(name).toBe(['sky', 'sea', 'ship', 'foam'][label!]);
    const written = parseSafetensors(readFileSync(out)).tensors;
    expect(Array.from(written, ([name, entry]) => [name, entry.dtype, entry.shape])).toEqual([
      ['logits', 'F32', [1, 4, 24, 32]],
    ]);
    expect(toFloat32(written.get('logits')!)).toEqual(await expected.data());
    tf.dispose([logits, expected]);
    segmenter.dispose();
  });
});

it('takes numbers that are prepared already, several images too', async () => {
  const out = inFolder('numbers.safetensors');
  const { code, stdout } = await pvt('segment', input, ...line, '--out', out, '--json');
  expect(code).toBe(0);
  const {
    model: { parts },
    dispose,
  } = await library();
  const nhwc = tf.transpose(tf.tensor4d(values, [...shape]), [0, 2, 3, 1]) as tf.Tensor4D;
  const expected = tf.tidy(() =>
    tf.transpose(parts.head.forward(parts.neck!.forward(parts.backbone.forward(nhwc).pyramid)), [0, 3, 1, 2]),
  );
  const logits = parseSafetensors(readFileSync(out)).tensors.get('logits')!;
  expect([logits.shape, toFloat32(logits)]).toEqual([[2, 4, 16, 24], await expected.data()]);
  expect(resultsOf(stdout).map(({ input: name, size }) => [name, size])).toEqual(
    [0, 1].map((row) => [`${input}[${row}]`, [64, 96]]),
  );
  tf.dispose([nhwc, expected]);
  dispose();
});

it('leaves pixels without a class where the best is not probable enough', async () => {
  const { stdout: all } = await pvt('segment', sample, ...line, '--json');
  const segmenter = await library();
  const { labels: best, scores } = await segmenter.segment(await readImage(sample), { scores: true });
  segmenter.dispose();
  // Half of the pixels are below the median.
  const median = [...scores!].sort((a, b) => a - b)[scores!.length >> 1]!;
  const { stdout } = await pvt('segment', sample, ...line, '--json', '--score', `${median}`);
  const [result] = resultsOf(stdout);
  expect(
    differing(
      mapOf(result!),
      best.map((label, i) => (scores![i]! < median ? 65_535 : label)),
    ),
  ).toBe(0);
  expect(result!.classes.find(({ unsure }) => unsure)!.pixels).toBe(
    scores!.filter((score) => score < median).length,
  );
  expect(resultsOf(all)[0]!.classes.some(({ unsure }) => unsure)).toBe(false);
});

it('shows a line for each class, and draws them', async () => {
  const plot = inFolder('seen.png');
  const { code, stdout } = await pvt('segment', sample, ...line, '--plot', plot);
  expect(code).toBe(0);
  const lines = stdout.trimEnd().split('\n');
  expect(lines[0]).toContain('a segmenter of 4 classes');
  expect(lines[2]).toContain('480x640');
  expect(lines[3]).toMatch(/^ {2}(sky|sea|ship|foam) +\d+\.\d % {2}█/);
  expect(lines.at(-1)).toBe(`written: ${plot}`);
  const [drawn, plain] = [await readImage(plot), await readImage(sample)];
  expect([drawn.height, drawn.width]).toEqual([480, 640]);
  expect(drawn.data.filter((value, i) => value !== plain.data[i]).length).toBeGreaterThan(
    plain.data.length / 2,
  );
});

it('continues after a broken image', async () => {
  const { code, stdout, stderr } = await pvt('segment', 'nowhere.png', sample, ...line, '--json');
  expect(code).toBe(1);
  expect(stderr).toContain('pvt: nowhere.png: ');
  expect(resultsOf(stdout).map(({ input: name, error }) => [name, error === undefined])).toEqual([
    ['nowhere.png', false],
    [sample, true],
  ]);
});

it.each([
  [
    'a classifier’s checkpoint',
    () => fileURLToPath(checkpoints['pvt_v2_nano.cifar10'].url),
    'expected a checkpoint with a decode_head',
  ],
  [
    'a detector’s checkpoint',
    () => (writeTinyDetector(inFolder('detector.safetensors')), inFolder('detector.safetensors')),
    'expected a checkpoint with a decode_head',
  ],
])('refuses %s', async (_, path, complaint) => {
  const { code, stdout, stderr } = await pvt('segment', sample, '--weights', path());
  expect(stderr).toContain(complaint);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
});
