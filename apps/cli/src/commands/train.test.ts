import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodePng } from '@pvt/adapter-image/node';
import { createRandom } from '@pvt/core';
import { readCheckpoint } from '@pvt/presets';
import { beforeAll, describe, expect, it } from 'vitest';
import { folder, pvt } from '../fixtures/capture.ts';

const inFolder = folder();
const side = 32;

/** A gray noise image with a bright square from (left, top) on. */
function image(
  seed: string,
  [red, green, blue]: readonly [number, number, number],
  square?: { readonly left: number; readonly top: number; readonly side: number },
) {
  const random = createRandom(seed);
  const data = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const inSquare =
        square &&
        x >= square.left &&
        x < square.left + square.side &&
        y >= square.top &&
        y < square.top + square.side;
      [red, green, blue].forEach(
        (level, c) => (data[(y * side + x) * 3 + c] = (inSquare ? 230 : level) + 20 * random.uniform()),
      );
    }
  }
  return { width: side, height: side, data };
}

const write = async (path: string, content: ReturnType<typeof image> | string) => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof content === 'string' ? content : await encodePng(content));
};

const colors = inFolder('colors');
const squares = inFolder('squares');
const boxes = inFolder('boxes');

beforeAll(async () => {
  for (let i = 0; i < 8; i++) {
    const split = i < 4 ? 'train' : 'val';
    await write(join(colors, split, 'blue', `${i}.png`), image(`blue ${i}`, [20, 20, 200]));
    await write(join(colors, split, 'red', `${i}.png`), image(`red ${i}`, [200, 20, 20]));
    const square = { left: 2 + i, top: 14 - i, side: 14 };
    const whole = image(`square ${i}`, [60, 60, 60], square);
    const inSquare = (at: number) =>
      at % side >= square.left &&
      at % side < square.left + 14 &&
      Math.floor(at / side) >= square.top &&
      Math.floor(at / side) < square.top + 14;
    await write(join(squares, 'images', `${i}.png`), whole);
    await write(join(squares, 'masks', `${i}.png`), {
      ...whole,
      data: Uint8Array.from({ length: side * side * 3 }, (_, at) => (inSquare(Math.floor(at / 3)) ? 255 : 0)),
    });
    await write(join(boxes, 'JPEGImages', `${i}.png`), whole);
    // VOC counts pixels from 1.
    const [left, top] = [square.left + 1, square.top + 1];
    await write(
      join(boxes, 'Annotations', `${i}.xml`),
      `<annotation><filename>${i}.png</filename>` +
        `<size><width>${side}</width><height>${side}</height><depth>3</depth></size>` +
        `<object><name>square</name><bndbox><xmin>${left}</xmin><ymin>${top}</ymin>` +
        `<xmax>${left + 13}</xmax><ymax>${top + 13}</ymax></bndbox></object></annotation>`,
    );
  }
});

interface Event {
  readonly kind: string;
  readonly loss: number;
  readonly step: number;
  readonly reason?: string;
  readonly metrics?: Record<string, number>;
}

const events = (stdout: string) =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Event);
const losses = (all: readonly Event[]) => all.filter(({ kind }) => kind === 'step').map(({ loss }) => loss);
const model = ['--model', 'pvt_v2_nano', '--size', `${side}`];

describe('pvt train classify', () => {
  it('separates two colors by its head alone, and every other command takes the result', async () => {
    const out = inFolder('colors-run');
    const trained = await pvt(
      'train',
      'classify',
      '--data',
      colors,
      ...model,
      '--freeze',
      'head-only',
      '--epochs',
      '12',
      '--batch',
      '4',
      '--learning-rate',
      '0.02',
      '--out',
      out,
    );
    expect(trained.stderr).toBe('');
    expect(trained.stdout).toContain('accuracy 1.0000');
    expect(trained.stdout).toMatch(/^head +258 +0$/m);
    const weights = join(out, 'model.safetensors');
    expect(readFileSync(join(out, 'curve.png')).subarray(1, 4).toString()).toBe('PNG');

    const measured = await pvt('eval', 'classify', '--data', colors, '--weights', weights, '--json');
    expect(JSON.parse(measured.stdout)).toMatchObject({ images: 8, accuracy: 1 });
    const { stdout } = await pvt(
      'classify',
      join(colors, 'val', 'red', '5.png'),
      '--weights',
      weights,
      '--json',
    );
    expect(JSON.parse(stdout)).toMatchObject([{ predictions: [{ label: 'red' }, { label: 'blue' }] }]);
    // What was frozen is what it was.
    const embedded = readCheckpoint(
      readFileSync(
        join(
          dirname(fileURLToPath(import.meta.resolve('@pvt/checkpoints'))),
          '../files/pvt_v2_nano.cifar10.safetensors',
        ),
      ),
    );
    const path = 'stages.0.blocks.0.mlp.fc1.weight';
    expect(readCheckpoint(readFileSync(weights)).state.get(path)!.values).toEqual(
      embedded.state.get(path)!.values,
    );
  });
});

describe('pvt train segment and detect', () => {
  it('finds bright squares pixel by pixel', async () => {
    const out = inFolder('squares-run');
    const trained = await pvt(
      'train',
      'segment',
      '--data',
      squares,
      '--classes',
      'ground,square',
      ...model,
      '--epochs',
      '12',
      '--batch',
      '3',
      '--learning-rate',
      '0.01',
      '--out',
      out,
      '--json',
    );
    const all = events(trained.stdout);
    expect(all.at(-1)).toMatchObject({ kind: 'done', reason: 'finished' });
    expect(losses(all).at(-1)!).toBeLessThan(0.7 * losses(all)[0]!);
    const { stdout } = await pvt(
      'segment',
      join(squares, 'images', '1.png'),
      '--weights',
      join(out, 'model.safetensors'),
      '--json',
    );
    const [{ classes }] = JSON.parse(stdout) as [
      { classes: readonly { readonly name: string; readonly pixels: number }[] },
    ];
    expect(classes.map(({ name }) => name)).toContain('ground');
    expect(classes.reduce((sum, { pixels }) => sum + pixels, 0)).toBe(side * side);
  });

  it('learns boxes, with anchors of their size', async () => {
    const out = inFolder('boxes-run');
    const trained = await pvt(
      'train',
      'detect',
      '--data',
      boxes,
      ...model,
      '--epochs',
      '6',
      '--batch',
      '3',
      '--out',
      out,
      '--json',
    );
    const all = events(trained.stdout);
    expect(losses(all).at(-1)!).toBeLessThan(0.9 * losses(all)[0]!);
    expect(readCheckpoint(readFileSync(join(out, 'model.safetensors'))).metadata.get('anchorScale')).toBe(
      '2',
    );
    const { code, stdout } = await pvt(
      'eval',
      'detect',
      '--data',
      boxes,
      '--weights',
      join(out, 'model.safetensors'),
      '--json',
    );
    expect([code, Object.keys(JSON.parse(stdout) as object)]).toEqual([
      0,
      expect.arrayContaining(['mAP', 'mAP50', 'AP square']),
    ]);
  });
});

describe('a run that is stopped', () => {
  const line = ['--data', colors, ...model, '--epochs', '4', '--batch', '4', '--seed', '7', '--json'];
  const whole = inFolder('whole');

  /** Runs the command in a process of its own until `until` says so, then sends it a signal. */
  const stopped = (out: string, signal: NodeJS.Signals, until: (event: Event) => boolean) =>
    new Promise<number | null>((resolve) => {
      const child = spawn(
        process.execPath,
        [
          '--import',
          'tsx',
          fileURLToPath(new URL('../pvt.ts', import.meta.url)),
          'train',
          'classify',
          ...line,
          '--save-every',
          '0.001',
          '--out',
          out,
        ],
        { stdio: ['ignore', 'pipe', 'ignore'] },
      );
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        const complete = text.slice(0, text.lastIndexOf('\n'));
        if (complete !== '' && events(complete).some(until)) child.kill(signal);
      });
      child.on('exit', resolve);
    });

  beforeAll(() => pvt('train', 'classify', ...line, '--out', whole));

  const record = (out: string) =>
    JSON.parse(readFileSync(join(out, 'run.json'), 'utf8')) as {
      readonly checkpoint: string;
      readonly progress: { readonly step: number; readonly losses: readonly number[] };
    };

  it.each([
    ['killed', 'SIGKILL', null],
    ['interrupted', 'SIGINT', 130],
  ] as const)('goes on bit for bit after it was %s', async (name, signal, code) => {
    const out = inFolder(`run-${name}`);
    expect(await stopped(out, signal, ({ kind, step }) => kind === 'step' && step === 4)).toBe(code);
    const { checkpoint, progress } = record(out);
    expect(progress.step).toBeLessThan(8);
    expect(
      readCheckpoint(readFileSync(join(out, checkpoint, 'model.safetensors')), { config: 'pvt_v2_nano' })
        .config.classes,
    ).toBe(2);

    const { code: resumed } = await pvt('train', 'classify', '--resume', out, '--json');
    expect(resumed).toBe(0);
    expect(record(out).progress.losses).toEqual(record(whole).progress.losses);
    expect(
      readFileSync(join(out, record(out).checkpoint, 'state.safetensors')).equals(
        readFileSync(join(whole, record(whole).checkpoint, 'state.safetensors')),
      ),
    ).toBe(true);
    expect(readdirSync(out).filter((entry) => entry.startsWith('checkpoint-'))).toEqual([
      record(out).checkpoint,
    ]);
  });
});

describe('what cannot be trained', () => {
  it.each([
    [['train', 'paint', '--data', colors], /expected classify, segment, detect, got paint/],
    [
      ['train', 'classify', '--model', 'pvt_v2_nano'],
      /expected a folder of images, got none; name it with --data/,
    ],
    [
      ['train', 'classify', '--data', colors, ...model, '--epochs', '1', '--minutes', '1'],
      /expected --epochs or --minutes, got both/,
    ],
    [['train', 'classify', '--data', colors, ...model, '--freeze', 'stage:9'], /stage:3/],
    [
      ['train', 'classify', '--data', colors, ...model, '--head', 'unet'],
      /expected --head with segment alone/,
    ],
    [['train', 'classify', '--data', colors, '--scratch'], /expected a variant/],
    [['train', 'classify', '--data', colors], /expected a model, got none/],
    [['train', 'classify', '--data', colors, '--model', 'pvt_v2_b0'], /no embedded weights/],
    [['train', 'classify', '--data', colors, ...model, '--size', '8'], /from 32 to 4096/],
    [['eval', 'classify', '--data', colors], /expected a checkpoint, got none/],
  ])('%j is refused with its reason', async (line, message) => {
    const { code, stdout, stderr } = await pvt(...line);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it.each([
    [['train', 'classify', '--data', inFolder('nowhere'), ...model, '--out', inFolder('a')], /nowhere/],
    [['train', 'segment', '--data', colors, ...model, '--out', inFolder('b')], /masks/],
    [['train', 'classify', '--resume', colors], /run\.json/],
  ])('%j fails with its reason', async (line, message) => {
    const { code, stderr } = await pvt(...line);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
  });

  it('does not write into a folder that is in use', async () => {
    const { code, stderr } = await pvt('train', 'classify', '--data', colors, ...model, '--out', colors);
    expect(code).toBe(2);
    expect(stderr).toMatch(/expected .* to be new or empty, got 2 entries such as train/);
    expect(existsSync(join(colors, 'run.json'))).toBe(false);
  });
});

describe('the embedded models for the microscope', () => {
  it('segment and detect without --weights, and say what they are', async () => {
    const slide = inFolder('slide.png');
    await write(slide, image('slide', [60, 60, 60], { left: 8, top: 8, side: 14 }));
    const segmented = await pvt('segment', slide);
    expect(segmented.stdout).toContain(
      'a segmenter of 2 classes from the embedded demonstration: cell nuclei under the microscope',
    );
    const detected = await pvt('detect', slide, '--score', '0');
    expect(detected.stdout).toContain(
      'a detector of 3 classes from the embedded demonstration: blood cells under the microscope',
    );
    expect([segmented.code, detected.code, segmented.stderr, detected.stderr]).toEqual([0, 0, '', '']);
  });
});
