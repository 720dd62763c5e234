import { readFile } from 'node:fs/promises';
import { preprocess } from '@pvt/adapter-image';
import { checkpoints } from '@pvt/checkpoints';
import { createPvt, createRandom, type Image } from '@pvt/core';
import { createPvtClassifier } from '@pvt/heads';
import { readCheckpoint } from '@pvt/presets';
import { expectClose, expectNoLeak, useBackend } from '@pvt/testing';
import { adamW, readStateDict, stateEntries, train } from '@pvt/training';
import { beforeAll, expect, it } from 'vitest';
import { createFewShotLearner } from './index.ts';

beforeAll(() => useBackend('wasm'));

/** A noisy image of one color. */
function image(seed: string, color: readonly [red: number, green: number, blue: number]): Image {
  const random = createRandom(seed);
  const data = Uint8Array.from({ length: 40 * 40 * 3 }, (_, i) => color[i % 3]! + 20 * random.uniform());
  return { width: 40, height: 40, data };
}

const names = ['blue', 'red'];
const images = [0, 1, 2].flatMap((i) => [
  image(`blue ${i}`, [20, 20, 200]),
  image(`red ${i}`, [200, 20, 20]),
]);
const labels = images.map((_, i) => i % 2);
const { url, preprocessing } = checkpoints['pvt_v2_nano.cifar10'];

it.each(['head', 'lastStage'] as const)('tells two colors apart when its %s trains', async (trains) => {
  const checkpoint = readCheckpoint(await readFile(url));
  await expectNoLeak(async () => {
    const backbone = createPvt({ ...checkpoint.config, classes: 0 }, checkpoint.source);
    const learner = createFewShotLearner({
      checkpoint,
      backbone,
      preprocessing,
      names,
      images,
      labels,
      trains,
      batch: 4,
    });
    const { models, data, select, learningRate } = learner;
    const order = [...data.batches(3)].flat();
    expect([order.length, [...order].sort()]).toEqual([6, [0, 1, 2, 3, 4, 5]]);
    expect([...data.batches(3)].flat()).toEqual(order);

    const losses: number[] = [];
    const run = train(models, {
      data,
      loss: (batch, context) => learner.loss(batch, context),
      select,
      optimizer: adamW({ learningRate }),
      epochs: 8,
    });
    for await (const event of run) if (event.kind === 'step') losses.push(event.loss);
    expect(losses.at(-1)!).toBeLessThan(0.5 * losses[0]!);
    const logits = learner.logits();
    const rows = (await logits.array()) as number[][];
    expect(rows.map(([blue, red]) => (red! > blue! ? 1 : 0))).toEqual(labels);

    // The file holds the whole model, the frozen part of it too.
    const written = readCheckpoint(learner.encode(await readStateDict(stateEntries(models))));
    expect(written).toMatchObject({ labels: names, preprocessing, naming: checkpoint.naming });
    const model = createPvtClassifier(written.config, written.source);
    const input = preprocess([images[1]!], preprocessing);
    const again = model.forward(input).logits;
    const own = learner.logitsOf(images[1]!);
    await expectClose(again, await own.data(), 1e-5);
    for (const one of [logits, input, again, own, model, learner, backbone]) one.dispose();
  });
});
