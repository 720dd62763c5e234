import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readImage } from '@pvt/adapter-image';
import { checkpoints } from '@pvt/checkpoints';
import { detect } from '@pvt/heads';
import { fromFloat32, parseSafetensors, toFloat32, writeSafetensors } from '@pvt/presets';
import { createDetector } from '@pvt/tasks';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../backend.ts';
import { folder, pvt, sample } from '../fixtures/capture.ts';
import { tinyBody, writeTinyDetector } from '../fixtures/tinyHeads.ts';

const inFolder = folder();
const weights = inFolder('detector.safetensors');
const config = inFolder('tiny.json');
const input = inFolder('input.safetensors');
const shape = [2, 3, 64, 96] as const;
const values = Float32Array.from({ length: 2 * 3 * 64 * 96 }, (_, i) => Math.sin(i * i));
const size = { shortSide: 96, longSide: 128 };
// A head that knows nothing takes one anchor in a hundred for an object.
const low = ['--score', '0.0099'];
const line = ['--weights', weights, '--config', config, '--size', '96x128', '--backend', 'cpu'];

beforeAll(async () => {
  await startBackend('cpu', process);
  writeTinyDetector(weights);
  writeFileSync(config, JSON.stringify(tinyBody));
  writeFileSync(input, writeSafetensors([['input', fromFloat32(values, shape)]]));
});

interface Result {
  readonly input: string;
  readonly size: readonly number[];
  readonly detections: readonly {
    readonly label: number;
    readonly name?: string;
    readonly score: number;
    readonly box: readonly number[];
  }[];
  readonly out?: string;
  readonly plot?: string;
  readonly error?: string;
}

const resultsOf = (stdout: string) => JSON.parse(stdout) as Result[];
const read = (path: string) => parseSafetensors(readFileSync(path)).tensors;
const numbers = (path: string, name: string) => [...toFloat32(read(path).get(name)!)];
const library = () => createDetector(readFileSync(weights), { config: tinyBody, size });

describe.each(['wasm', 'cpu'])('on %s', (backend) => {
  it("gives the library's own objects of an image", async () => {
    const out = inFolder(`${backend}.safetensors`);
    await startBackend(backend as 'wasm' | 'cpu', process);
    const before = tf.memory().numTensors;
    const { code, stdout } = await pvt(
      'detect',
      sample,
      ...line.slice(0, -1),
      backend,
      ...low,
      '--out',
      out,
      '--json',
    );
    expect(code).toBe(0);
    expect(tf.memory().numTensors).toBe(before);

    const detector = await library();
    const expected = await detector.detect(await readImage(sample), { scoreThreshold: 0.0099 });
    detector.dispose();
    expect(expected).toHaveLength(100);
    expect(resultsOf(stdout)).toMatchObject([
      {
        input: sample,
        size: [480, 640],
        out,
        detections: expected.map(({ box, score, label }) => ({ box, score, label })),
      },
    ]);
    expect(Array.from(read(out), ([name, entry]) => [name, entry.dtype, entry.shape]).sort()).toEqual([
      ['boxes', 'F32', [100, 4]],
      ['labels', 'I32', [100]],
      ['scores', 'F32', [100]],
    ]);
    expect(numbers(out, 'boxes')).toEqual(expected.flatMap(({ box }) => box).map(Math.fround));
    expect(numbers(out, 'scores')).toEqual(expected.map(({ score }) => Math.fround(score)));
    expect(numbers(out, 'labels')).toEqual(expected.map(({ label }) => label));
  });
});

it('gives the same on threads, of images and of prepared tensors', async () => {
  const [one, two] = [
    await pvt('detect', sample, input, ...line, ...low, '--json'),
    await pvt('detect', sample, input, ...line, ...low, '--threads', '2', '--json'),
  ];
  expect([one.code, two.code]).toEqual([0, 0]);
  expect(two.stderr).toBe(one.stderr);
  const [expected, found] = [resultsOf(one.stdout), resultsOf(two.stdout)];
  expect(found.map(({ detections }) => detections.map(({ label }) => label))).toEqual(
    expected.map(({ detections }) => detections.map(({ label }) => label)),
  );
  const scores = (all: Result[]) => all.flatMap(({ detections }) => detections.map(({ score }) => score));
  for (const [i, score] of scores(found).entries()) expect(score).toBeCloseTo(scores(expected)[i]!, 5);
  const { code, stderr } = await pvt('detect', sample, ...line, '--threads', '0');
  expect([code, stderr]).toEqual([
    2,
    expect.stringContaining('expected a whole number from 1 to 64, such as 2'),
  ]);
});

it('takes a tensor that is prepared already, of several images too, and gives the raw outputs', async () => {
  const out = inFolder('raw.safetensors');
  const { code, stdout } = await pvt('detect', input, ...line, ...low, '--out', out, '--raw', '--json');
  expect(code).toBe(0);
  const {
    model: { parts },
    dispose,
  } = await library();
  const nhwc = tf.transpose(tf.tensor4d(values, [...shape]), [0, 2, 3, 1]) as tf.Tensor4D;
  const levels = parts.head.forward(parts.neck.forward(parts.backbone.forward(nhwc).pyramid));
  const found = await detect(levels, {
    rules: { ...parts.head.config.rules, scoreThreshold: 0.0099 },
    input: [64, 96],
  });
  expect(
    resultsOf(stdout).map(({ input: name, size: sides, detections }) => [
      name,
      sides,
      detections.map(({ box }) => box),
    ]),
  ).toEqual(found.map((objects, i) => [`${input}[${i}]`, [64, 96], objects.map(({ box }) => box)]));
  expect(numbers(out, 'boxes')).toEqual(
    found
      .flat()
      .flatMap(({ box }) => box)
      .map(Math.fround),
  );
  expect(numbers(out, 'images')).toEqual(found.flatMap((objects, i) => objects.map(() => i)));
  for (const [
    i,
    {
      logits,
      deltas,
      grid: [height, width],
    },
  ] of levels.entries()) {
    expect([read(out).get(`cls${i}`)!.shape, read(out).get(`reg${i}`)!.shape]).toEqual([
      [2, 36, height, width],
      [2, 36, height, width],
    ]);
    // Anchors lie by row, column, then kind; of each, channels are (kind, class).
    const at = (b: number, y: number, x: number, kind: number, k: number) =>
      (((b * height + y) * width + x) * 9 + kind) * 4 + k;
    const [cls, reg, flatLogits, flatDeltas] = [
      numbers(out, `cls${i}`),
      numbers(out, `reg${i}`),
      await logits.data(),
      await deltas.data(),
    ];
    for (const [b, y, x, kind, k] of [
      [0, 0, 0, 0, 0],
      [1, height - 1, width - 1, 8, 3],
      [1, 0, width - 1, 4, 2],
    ] as const) {
      const index = ((b * 36 + kind * 4 + k) * height + y) * width + x;
      expect([cls[index], reg[index]]).toEqual([
        flatLogits[at(b, y, x, kind, k)],
        flatDeltas[at(b, y, x, kind, k)],
      ]);
    }
  }
  tf.dispose([nhwc, levels] as unknown as tf.TensorContainer);
  dispose();
});

it('finds nothing above an impossible score, and says so', async () => {
  const out = inFolder('nothing.safetensors');
  const plot = inFolder('nothing.png');
  const { code, stdout } = await pvt(
    'detect',
    sample,
    ...line,
    '--score',
    '0.99',
    '--out',
    out,
    '--plot',
    plot,
  );
  expect(code).toBe(0);
  expect(stdout).toContain('\n  nothing above 0.99\n');
  expect(Array.from(read(out), ([name, entry]) => [name, entry.shape]).sort()).toEqual([
    ['boxes', [0, 4]],
    ['labels', [0]],
    ['scores', [0]],
  ]);
  // With nothing found, what is drawn is the image.
  expect(Buffer.compare((await readImage(plot)).data, (await readImage(sample)).data)).toBe(0);
  const { stdout: json } = await pvt('detect', sample, ...line, '--score', '0.99', '--json');
  expect(resultsOf(json).map(({ detections }) => detections)).toEqual([[]]);
});

it('shows the best with their names, and draws them', async () => {
  writeFileSync(inFolder('labels.txt'), 'ship\nbuoy\ngull\nwave\n');
  const plot = inFolder('found.png');
  const { code, stdout, stderr } = await pvt(
    'detect',
    sample,
    ...line,
    ...low,
    '--labels',
    inFolder('labels.txt'),
    '--plot',
    plot,
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const lines = stdout.trimEnd().split('\n');
  expect(lines[0]).toContain('a detector of 4 classes');
  expect(lines[2]).toContain('480x640');
  expect(lines[3]).toMatch(/score +left +top +right +bottom$/);
  expect(
    lines.slice(4, 24).every((text) => /^ {2}(ship|buoy|gull|wave) +\d\.\d %( +\d+\.\d){4}$/.test(text)),
  ).toBe(true);
  expect(lines[24]).toContain('and 80 more');
  expect(lines.at(-1)).toBe(`written: ${plot}`);
  const [drawn, plain] = [await readImage(plot), await readImage(sample)];
  expect([drawn.height, drawn.width]).toEqual([480, 640]);
  expect(Buffer.compare(drawn.data, plain.data)).not.toBe(0);
});

it('numbers the files of several inputs, and continues after a broken image', async () => {
  const cut = inFolder('cut.png');
  writeFileSync(cut, readFileSync(sample).subarray(0, 5000));
  const { code, stdout, stderr } = await pvt(
    'detect',
    sample,
    cut,
    input,
    ...line,
    '--out',
    inFolder('many.safetensors'),
    '--plot',
    inFolder('many.png'),
    '--json',
  );
  expect(code).toBe(1);
  expect(stderr.trimEnd().split('\n').at(-1)).toContain(`pvt: ${cut}: `);
  expect(
    resultsOf(stdout).map(({ input: name, out, plot, error }) => [name, out, plot, error === undefined]),
  ).toEqual([
    [sample, inFolder('many-1.safetensors'), inFolder('many-1.png'), true],
    [cut, undefined, undefined, false],
    ...[0, 1].map((row) => [
      `${input}[${row}]`,
      inFolder('many-3.safetensors'),
      inFolder('many-3.png'),
      true,
    ]),
  ]);
  expect([1, 2, 3].map((i) => existsSync(inFolder(`many-${i}.png`)))).toEqual([true, false, true]);
});

describe('what cannot be', () => {
  it.each([
    [
      'a classifier’s checkpoint',
      () => ['--weights', fileURLToPath(checkpoints['pvt_v2_nano.cifar10'].url)],
      'expected a checkpoint with bbox_head',
    ],
    ['one label for four classes', () => [...line, '--labels', config], 'expected'],
    [
      'two labels for four classes',
      () => (writeFileSync(inFolder('two.txt'), 'a\nb'), [...line, '--labels', inFolder('two.txt')]),
      'expected 4 names',
    ],
    ['weights that are not there', () => ['--weights', inFolder('nowhere.pth')], 'nowhere.pth'],
    [
      'another architecture',
      () => (
        writeFileSync(inFolder('v1.json'), '{"version": "v1"}'),
        [...line, '--config', inFolder('v1.json')]
      ),
      'expected',
    ],
  ])('%s', async (_, argv, complaint) => {
    const before = tf.memory().numTensors;
    const { code, stdout, stderr } = await pvt('detect', sample, ...argv());
    expect(stderr).toContain(complaint);
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(/^pvt: .+\.$/);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(tf.memory().numTensors).toBe(before);
  });

  it('a tensor of another kind', async () => {
    writeFileSync(
      inFolder('gray.safetensors'),
      writeSafetensors([['input', fromFloat32(new Float32Array(64), [1, 1, 8, 8])]]),
    );
    const { code, stderr } = await pvt('detect', inFolder('gray.safetensors'), ...line);
    expect(code).toBe(1);
    expect(stderr).toContain('F32 (N, 3, H, W)');
  });
});
