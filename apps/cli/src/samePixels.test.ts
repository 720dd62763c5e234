import { pvtConfig, type Image } from '@pvt/core';
import { createLoader, type Batch, type DataSet, type Task } from '@pvt/data';
import { createDetectionLearner, createSegmentationLearner, fromScratch } from '@pvt/finetune';
import { createDetector, createSegmenter } from '@pvt/tasks';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from './backend.ts';

beforeAll(() => startBackend('cpu', process));

const config = pvtConfig({ version: 'v2', dims: [8, 16, 40, 64], depths: [1, 1, 1, 1], classes: 0 });
const size = { shortSide: 64, longSide: 96, multiple: 32 };
const names = ['ground', 'cell'];
const noise = (width: number, height: number): Image => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i + 7 * i) % 251),
});
/** Larger, smaller and as large as the input, in both orientations. */
const images = [noise(200, 131), noise(57, 43), noise(70, 190), noise(96, 64)];

async function firstBatch<K extends Task>(data: DataSet<K>, from: 'epoch' | 'evaluation'): Promise<Batch<K>> {
  const loader = createLoader(data, { size, batch: 1, shuffle: false, workers: 0 });
  for await (const batch of from === 'epoch' ? loader.epoch(0) : loader.evaluation()) return batch;
  throw new Error('expected a batch');
}

describe.each(images)('an image of $width x $height', (image) => {
  const segmentation: DataSet<'segment'> = {
    task: 'segment',
    classes: names,
    samples: [
      {
        name: 'noise',
        source: image,
        target: { ...image, labels: new Uint16Array(image.width * image.height) },
      },
    ],
  };
  const detection: DataSet<'detect'> = {
    task: 'detect',
    classes: names,
    samples: [{ name: 'noise', source: image, target: [{ box: [1, 1, 20, 20], label: 1 }] }],
  };

  it.each(['epoch', 'evaluation'] as const)('is the same input in an %s and in segment', async (from) => {
    const learner = createSegmentationLearner({ init: fromScratch(config), names, size });
    const segmenter = await createSegmenter(learner.parts, { ...learner.options, warmUp: false });
    const { prepared, logits } = await segmenter.forward(image);
    const batch = await firstBatch(segmentation, from);
    expect([batch.shape.slice(1, 3), batch.placements]).toEqual([prepared.size, [prepared.placement]]);
    expect(batch.inputs).toEqual(prepared.values);
    logits.dispose();
    segmenter.dispose();
  });

  it.each(['epoch', 'evaluation'] as const)('is the same input in an %s and in detect', async (from) => {
    const learner = createDetectionLearner({ init: fromScratch(config), names, size });
    const detector = await createDetector(learner.parts, { ...learner.options, warmUp: false });
    const { prepared, levels } = await detector.forward(image);
    const batch = await firstBatch(detection, from);
    expect([batch.shape.slice(1, 3), batch.placements]).toEqual([prepared.size, [prepared.placement]]);
    expect(batch.inputs).toEqual(prepared.values);
    for (const { logits, deltas } of levels) tf.dispose([logits, deltas]);
    detector.dispose();
  });
});
