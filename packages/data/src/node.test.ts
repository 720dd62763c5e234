import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { encodePng } from '@pvt/adapter-image/node';
import { createRandom, type Image } from '@pvt/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createLoader,
  readDataSet,
  labelledImages,
  type AugmentStep,
  type Batch,
  type DataSet,
  type LoaderOptions,
  type Task,
} from './node.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pvt-data-'));
  for (const name of ['classes/red', 'classes/blue', 'masks/images', 'masks/masks', 'voc'])
    await mkdir(join(folder, name), { recursive: true });
  for (let i = 0; i < 5; i++) {
    await write(`classes/red/${i}.png`, plain(12 + i, 10, [200, i, 0]));
    await write(`classes/blue/${i}.png`, plain(12, 10 + i, [i, 0, 200]));
    await write(`masks/images/${i}.png`, plain(20, 10, [10 * i, 20, 30]));
    await write(`masks/masks/${i}.png`, {
      ...plain(20, 10, [0, 0, 0]),
      data: Uint8Array.from({ length: 600 }, (_, at) => (Math.floor(at / 3) % 20 < 2 * i ? 1 : 0)),
    });
    await write(`voc/${i}.png`, plain(40, 20, [60 * i, 20, 30]));
    const object = (box: string, more = '') =>
      `<object><name>x</name>${more}<bndbox>${box}</bndbox></object>`;
    const boxes = [
      object(`<xmin>5</xmin><ymin>3</ymin><xmax>${20 + i}</xmax><ymax>12</ymax>`),
      object('<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax>', '<difficult>1</difficult>'),
    ];
    await writeFile(
      join(folder, `voc/${i}.xml`),
      `<annotation><size><width>40</width><height>20</height></size>${boxes.join('')}</annotation>`,
    );
  }
});
afterAll(() => rm(folder, { recursive: true }));

const plain = (width: number, height: number, color: number[]): Image => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => color[i % 3]!),
});
const write = async (path: string, image: Image) => writeFile(join(folder, path), await encodePng(image));
/** All images of a folder as one data set, ordered by name. */
async function setOf<K extends Task>(name: string, task: K): Promise<DataSet<K>> {
  const { train, validation } = await readDataSet(join(folder, name), task);
  return {
    ...train,
    samples: [...train.samples, ...validation.samples].sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}
async function all<T>(batches: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const batch of batches) list.push(batch);
  return list;
}
async function epochOf<K extends Task>(
  data: DataSet<K>,
  options: LoaderOptions,
  epoch = 0,
): Promise<Batch<K>[]> {
  const loader = createLoader(data, options);
  try {
    return await all(loader.epoch(epoch));
  } finally {
    await loader.close();
  }
}
const unit = { mean: [0, 0, 0], std: [1, 1, 1] };
const steps: AugmentStep[] = [
  { kind: 'scaledCrop', scale: [0.5, 2] },
  { kind: 'flip', horizontal: 0.5, vertical: 0.5 },
  { kind: 'colorJitter', brightness: 0.5 },
];

describe('epochs', () => {
  it('show every image once, each epoch in its own order and with its own augmentation', async () => {
    const data = await setOf('classes', 'classify');
    const options = { size: [8, 8], batch: 3, augment: steps, seed: 5, workers: 0 } as const;
    const [first, again, second, other] = await Promise.all([
      epochOf(data, options),
      epochOf(data, options),
      epochOf(data, options, 1),
      epochOf(data, { ...options, seed: 6 }),
    ]);
    expect(first.map(({ shape }) => shape)).toEqual([
      [3, 8, 8, 3],
      [3, 8, 8, 3],
      [3, 8, 8, 3],
      [1, 8, 8, 3],
    ]);
    const names = (batches: typeof first) => batches.flatMap((batch) => batch.names);
    expect([...names(first)].sort()).toEqual(data.samples.map(({ name }) => name));
    for (const { names, targets } of first)
      expect(targets).toEqual(names.map((name) => data.classes.indexOf(name.split('/')[0]!)));
    expect(again).toEqual(first);
    expect(names(second)).not.toEqual(names(first));
    expect(names(other)).not.toEqual(names(first));
    const still = { ...options, shuffle: false };
    expect((await epochOf(data, still, 1))[0]!.inputs).not.toEqual((await epochOf(data, still))[0]!.inputs);
  });

  it('are the same for any number of workers, and from cached images', async () => {
    for (const [name, task] of [
      ['classes', 'classify'],
      ['masks', 'segment'],
      ['voc', 'detect'],
    ] as const) {
      const data = await setOf(name, task);
      const options = { size: [16, 24], batch: 2, augment: steps, seed: 1 } as const;
      const loader = createLoader(data, { ...options, workers: 2, prefetch: 1 });
      const [first, second, back] = [
        await all(loader.epoch(0)),
        await all(loader.epoch(1)),
        await all(loader.epoch(0)),
      ];
      await loader.close();
      expect(first).toEqual(await epochOf(data, { ...options, workers: 0 }));
      expect(second).toEqual(await epochOf(data, { ...options, workers: 1, cacheBytes: 0, prefetch: 0 }, 1));
      expect(back).toEqual(first);
    }
  });

  it('drop the last batch on request, and count', async () => {
    const data = await setOf('classes', 'classify');
    const loader = createLoader(data, { size: [8, 8], batch: 4, dropLast: true, workers: 0 });
    expect([loader.length, loader.samples, loader.classes]).toEqual([2, 10, ['blue', 'red']]);
    expect((await all(loader.epoch(0))).map(({ names }) => names.length)).toEqual([4, 4]);
    expect((await all(loader.evaluation())).map(({ names }) => names.length)).toEqual([4, 4, 2]);
  });

  it('normalize pixels and pad them with 0, and masks with ignored labels', async () => {
    const data = await setOf('masks', 'segment');
    const [batch] = await epochOf(data, {
      size: [10, 10],
      batch: 5,
      shuffle: false,
      workers: 0,
      normalize: { mean: [0.5, 0, 0], std: [0.5, 1, 0.1] },
    });
    const pixel = (y: number) => [...batch!.inputs.subarray(3 * 300 + y * 30, 3 * 300 + y * 30 + 3)];
    [(30 / 255 - 0.5) / 0.5, 20 / 255, 30 / 25.5].forEach((value, i) =>
      expect(pixel(0)[i]).toBeCloseTo(value, 6),
    );
    expect(pixel(5)).toEqual([0, 0, 0]);
    expect(batch!.placements[3]).toEqual({ contentSize: [5, 10], originalSize: [10, 20] });
    // The third mask's first 6 of 20 columns, at half the size.
    expect([...batch!.targets[3]!.labels.subarray(40)]).toEqual([
      1,
      1,
      1,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      ...Array(50).fill(255),
    ]);
  });

  it('move boxes into the input, without difficult ones', async () => {
    const data = await setOf('voc', 'detect');
    const [batch] = await epochOf(data, { size: [20, 20], batch: 5, shuffle: false, workers: 0 });
    expect(batch!.targets[2]).toEqual([{ box: [2, 1, 11, 6], label: 0 }]);
    const [stretched] = await epochOf(data, {
      size: [40, 40],
      batch: 5,
      resizeMode: 'stretch',
      shuffle: false,
      workers: 0,
    });
    expect(stretched!.targets[0]).toEqual([{ box: [4, 4, 20, 24], label: 0 }]);
  });

  it('have the size of their largest images within bounds', async () => {
    const data = await setOf('voc', 'detect');
    const [batch] = await epochOf(data, {
      size: { shortSide: 15, longSide: 100, multiple: 8 },
      batch: 5,
      workers: 0,
    });
    expect(batch!.shape).toEqual([5, 16, 32, 3]);
    expect(batch!.placements[0]).toEqual({ contentSize: [15, 30], originalSize: [20, 40] });
  });

  it('mix classes in proportion to their pixels', async () => {
    const data = await setOf('classes', 'classify');
    const options = {
      size: [8, 8],
      batch: 10,
      shuffle: false,
      normalize: unit,
      workers: 0,
      mix: { mixup: 1 },
    } as const;
    const [batch] = await epochOf(data, options);
    const { soft, inputs } = batch!;
    for (let i = 0; i < 10; i++) {
      expect(soft![2 * i]! + soft![2 * i + 1]!).toBeCloseTo(1, 6);
      // Red images have 200 in red, blue ones nearly nothing.
      expect(inputs[i * 192]! * 255).toBeGreaterThanOrEqual(199 * soft![2 * i + 1]!);
      expect(inputs[i * 192]! * 255).toBeLessThan(200 * soft![2 * i + 1]! + 5);
    }
    expect((await epochOf(data, options))[0]!.soft).toEqual(soft);
    expect((await epochOf(data, options, 1))[0]!.soft).not.toEqual(soft);
    const loader = createLoader(data, options);
    expect((await all(loader.evaluation()))[0]).not.toHaveProperty('soft');
  });
});

describe('evaluation', () => {
  it("has targets in each image's own pixels, crowds included", async () => {
    const loader = createLoader(await setOf('voc', 'detect'), {
      size: [10, 10],
      batch: 2,
      augment: steps,
      workers: 1,
    });
    const batches = await all(loader.evaluation());
    await loader.close();
    expect(batches.flatMap(({ names }) => names)).toEqual(['0.png', '1.png', '2.png', '3.png', '4.png']);
    expect(batches[0]!.targets[1]).toEqual([
      { box: [4, 2, 21, 12], label: 0 },
      { box: [0, 0, 4, 4], label: 0, crowd: true },
    ]);
    expect(batches[0]!.placements[1]).toEqual({ contentSize: [5, 10], originalSize: [20, 40] });
    const masks = createLoader(await setOf('masks', 'segment'), { size: [5, 5], batch: 5, workers: 0 });
    expect((await all(masks.evaluation()))[0]!.targets[1]).toMatchObject({ width: 20, height: 10 });
  });
});

describe('labelledImages', () => {
  it('may come from Blobs', async () => {
    const image = plain(6, 4, [10, 20, 30]);
    const source = new Blob([new Uint8Array(await encodePng(image))]);
    const data = {
      task: 'classify',
      classes: ['x'],
      samples: [{ name: 'blob', source, target: 0 }],
    } as const;
    expect(await all(labelledImages(data))).toEqual([{ name: 'blob', image, target: 0 }]);
    expect((await epochOf(data, { size: [4, 6], batch: 1, workers: 1 }))[0]!.shape).toEqual([1, 4, 6, 3]);
  });

  it('are the images and targets of the files, unchanged', async () => {
    const data = await setOf('masks', 'segment');
    const list = await all(labelledImages(data));
    expect(list.map(({ name }) => name)).toEqual(data.samples.map(({ name }) => name));
    expect(list[4]).toEqual({
      name: 'images/4.png',
      image: plain(20, 10, [40, 20, 30]),
      target: {
        width: 20,
        height: 10,
        labels: Uint16Array.from({ length: 200 }, (_, i) => (i % 20 < 8 ? 1 : 0)),
      },
    });
    const broken = { ...data, samples: [{ ...data.samples[0]!, source: join(folder, 'gone.png') }] };
    await expect(all(labelledImages(broken))).rejects.toThrow(
      expect.objectContaining({
        name: 'DataError',
        code: 'image-missing',
        message: expect.stringContaining('images/0.png'),
      }),
    );
  });
});

describe('errors', () => {
  it.each([0, 2])('names the broken image when its turn comes, with %i workers', async (workers) => {
    const data = await setOf('classes', 'classify');
    const { uniform } = createRandom(1);
    const noise = { width: 40, height: 40, data: Uint8Array.from({ length: 4800 }, () => 256 * uniform()) };
    await writeFile(join(folder, 'broken.png'), (await encodePng(noise)).subarray(0, 2000));
    const samples = data.samples.map((sample, i) =>
      i === 5 ? { ...sample, name: 'here/broken.png', source: join(folder, 'broken.png') } : sample,
    );
    const loader = createLoader({ ...data, samples }, { size: [8, 8], batch: 2, shuffle: false, workers });
    const seen: string[] = [];
    const run = async () => {
      for await (const { names } of loader.epoch(0)) seen.push(...names);
    };
    await expect(run()).rejects.toThrow(
      expect.objectContaining({
        name: 'DataError',
        code: 'image-damaged',
        message: expect.stringContaining('here/broken.png'),
      }),
    );
    expect(seen).toEqual(samples.slice(0, 4).map(({ name }) => name));
    await loader.close();
  });

  it('names images that differ in size from their annotation or mask', async () => {
    const boxes = await setOf('voc', 'detect');
    const turned = { ...boxes, samples: [{ ...boxes.samples[0]!, size: [40, 20] as const }] };
    await expect(epochOf(turned, { size: [8, 8], batch: 1, workers: 0 })).rejects.toThrow(
      'expected 0.png to be 20 wide and 40 high as its annotation says, got 40 and 20',
    );
    const masks = await setOf('masks', 'segment');
    const smaller = { ...masks, samples: [{ ...masks.samples[0]!, source: plain(10, 10, [0, 0, 0]) }] };
    await expect(epochOf(smaller, { size: [8, 8], batch: 1, workers: 1 })).rejects.toThrow(
      'expected the mask of images/0.png to be 10 wide and 10 high as the image, got 20 and 10',
    );
  });

  it.each([0, 1])('stops at once on an abort, with %i workers', async (workers) => {
    const stop = new AbortController();
    const loader = createLoader(await setOf('classes', 'classify'), {
      size: [8, 8],
      batch: 1,
      workers,
      signal: stop.signal,
    });
    const batches = loader.epoch(0);
    await batches.next();
    const next = batches.next();
    stop.abort(new Error('enough'));
    await expect(next).rejects.toThrow('enough');
    await expect(loader.epoch(1).next()).rejects.toThrow('enough');
    await loader.close();
  });

  it('says that it is closed', async () => {
    const loader = createLoader(await setOf('classes', 'classify'), { size: [8, 8], batch: 1, workers: 1 });
    await loader.close();
    await expect(loader.epoch(0).next()).rejects.toThrow(expect.objectContaining({ code: 'closed' }));
  });

  it('refuses invalid options', async () => {
    const data = await setOf('classes', 'classify');
    const boxes = await setOf('voc', 'detect');
    const options = { size: [8, 8], batch: 2 } as const;
    const refused: [() => unknown, string][] = [
      [
        () => createLoader(data, { ...options, batch: 0 }),
        'expected batch to be an integer of at least 1, got 0',
      ],
      [
        () => createLoader(data, { ...options, workers: -1 }),
        'expected workers to be an integer of at least 0',
      ],
      [() => createLoader(data, { ...options, size: [8, 0] }), 'positive whole pixels, got [8,0]'],
      [
        () => createLoader(data, { ...options, batch: 11, dropLast: true }),
        'got 10 images for batches of 11',
      ],
      [() => createLoader(data, { ...options, augment: [{ kind: 'shift', by: 2 }] }), 'shift.by'],
      [() => createLoader(data, { ...options, mix: {} }), 'mixup or cutmix'],
      [() => createLoader(boxes, { ...options, mix: { mixup: 1 } }), 'got them to detect'],
      [() => createLoader(boxes, { ...options, resizeMode: 'crop' }), 'which cuts what has to be found'],
      [
        () =>
          createLoader(boxes, {
            ...options,
            size: { shortSide: 8, longSide: 9, multiple: 4 },
            augment: steps,
          }),
        'a size [height, width] for scaledCrop',
      ],
      [() => createLoader({ ...data, samples: [] }, options), 'a data set with samples, got none'],
      [() => createLoader(data, { ...options, workers: 0 }).epoch(-1), 'an integer of at least 0, got -1'],
    ];
    for (const [call, message] of refused) expect(call).toThrow(message);
    await expect(readDataSet(join(folder, 'nowhere'), 'classify')).rejects.toThrow(
      expect.objectContaining({ code: 'folder-unreadable', message: expect.stringContaining('nowhere') }),
    );
  });
});

// Needs a built package; the whole test run builds first.
describe('the built package', () => {
  const run = async (end: string) => {
    const script = `import { createLoader, readDataSet } from '@pvt/data';
      const { train } = await readDataSet(process.argv[1], 'classify');
      const loader = createLoader(train, { size: [8, 8], batch: 2, workers: 2 });
      let count = 0;
      for await (const { names } of loader.epoch(0)) { count += names.length; ${end} }
      console.log(count);`;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '--eval', script, join(folder, 'classes')],
      { cwd: fileURLToPath(new URL('..', import.meta.url)), timeout: 60_000 },
    );
    return stdout.trim();
  };

  it('prepares images in threads and lets the process end, closed or not', async () => {
    expect(await run('')).toBe('8');
    expect(await run('break;')).toBe('2');
    expect(await run('if (count === 8) await loader.close();')).toBe('8');
  });
});
