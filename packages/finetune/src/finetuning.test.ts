import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRandom, pvtConfig, type Image } from '@pvt/core';
import type { DataSet } from '@pvt/data';
import { readCheckpoint } from '@pvt/presets';
import { expectNoLeak, useBackend } from '@pvt/testing';
import { createClassifier } from '@pvt/tasks';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRunFolder, readRun, readSnapshot } from './folder.ts';
import { createFinetuning, fromScratch } from './index.ts';

let folder: string;
beforeAll(async () => {
  await useBackend('wasm');
  folder = await mkdtemp(join(tmpdir(), 'pvt-finetune-'));
});
afterAll(() => rm(folder, { recursive: true }));

const config = pvtConfig({
  version: 'v2',
  dims: [8, 16, 40, 64],
  depths: [1, 1, 1, 1],
  imageSize: [32, 32],
  classes: 2,
});

function image(seed: string, blue: boolean): Image {
  const random = createRandom(seed);
  const data = Uint8Array.from(
    { length: 32 * 32 * 3 },
    (_, i) => (i % 3 === (blue ? 2 : 0) ? 200 : 20) + 20 * random.uniform(),
  );
  return { width: 32, height: 32, data };
}

const dataSet = (name: string): DataSet<'classify'> => ({
  task: 'classify',
  classes: ['red', 'blue'],
  samples: Array.from({ length: 6 }, (_, i) => ({
    name: `${name} ${i}`,
    source: image(`${name} ${i}`, i % 2 === 1),
    target: i % 2,
  })),
});

const create = () =>
  createFinetuning({
    task: 'classify',
    init: fromScratch(config),
    data: { train: dataSet('train'), validation: dataSet('validation') },
    batch: 3,
    seed: 5,
  });

it('fine-tunes on images in memory, and what its folder holds is the model that it measured', async () => {
  const run = join(folder, '.');
  await expectNoLeak(async () => {
    const finetuning = await create();
    expect(finetuning).toMatchObject({ size: [32, 32], crop: [32, 32], batch: 3 });
    const store = createRunFolder(run, {
      arguments: { any: 'thing' },
      classes: finetuning.loader.classes,
      encode: (weights) => finetuning.learner.encode(weights),
    });
    const kinds: string[] = [];
    let best = 0;
    for await (const event of finetuning.train({ epochs: 2, learningRate: 0.01, store })) {
      kinds.push(event.kind);
      if (event.kind === 'done') best = event.best!.metrics.score;
    }
    expect(kinds.filter((kind) => kind === 'step')).toHaveLength(4);
    expect(kinds.at(-1)).toBe('done');

    const record = await readRun(run);
    expect(record).toMatchObject({ arguments: { any: 'thing' }, classes: ['red', 'blue'] });
    expect(record.progress.step).toBe(4);
    expect((await readSnapshot(run, record)).weights.size).toBeGreaterThan(0);
    expect((await readdir(run)).sort()).toEqual([record.checkpoint, 'model.safetensors', 'run.json']);

    const file = await readFile(join(run, 'model.safetensors'));
    const classifier = await createClassifier(readCheckpoint(file, { config }));
    const { samples } = dataSet('validation');
    const predictions = await classifier.classify(samples.map(({ source }) => source as Image));
    const right = predictions.filter(([first], i) => first!.label === samples[i]!.target).length;
    expect(right / samples.length).toBe(best);
    classifier.dispose();
    await finetuning.close();
  });
});

it('continues bit for bit from a snapshot', async () => {
  const losses = async (options: Parameters<Awaited<ReturnType<typeof create>>['train']>[0]) => {
    const finetuning = await create();
    const found: number[] = [];
    let snapshot;
    for await (const event of finetuning.train({ learningRate: 0.01, ...options })) {
      if (event.kind === 'step') found.push(event.loss);
      if (event.kind === 'done') ({ snapshot } = event);
    }
    await finetuning.close();
    return { found, snapshot };
  };
  const whole = await losses({ epochs: 3 });
  // The schedule goes by the epochs of the whole run, so the first part has to be stopped, not shorter.
  const stopping = new AbortController();
  const part = await losses({
    epochs: 3,
    validate: () => (stopping.abort(), { score: 0 }),
    validateEvery: 1,
    signal: stopping.signal,
  });
  expect(part.found.length).toBeLessThan(whole.found.length);
  const rest = await losses({ epochs: 3, resume: part.snapshot! });
  expect([...part.found, ...rest.found]).toEqual(whole.found);
});

it.each([
  ['nothing', undefined, 'run-missing'],
  ['broken JSON', '{', 'run-invalid'],
  ['something else', '{"version": 2}', 'run-invalid'],
])('refuses a folder with %s', async (_, text, code) => {
  const path = await mkdtemp(join(folder, 'run-'));
  if (text !== undefined) await writeFile(join(path, 'run.json'), text);
  await expect(readRun(path)).rejects.toThrow(expect.objectContaining({ code }));
});
