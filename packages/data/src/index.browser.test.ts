import { encode } from 'fast-png';
import { expect, it } from 'vitest';
import { createLoader, readDataSet } from './index.ts';

/** A file of a chosen folder. */
const file = (path: string, content: BlobPart) =>
  Object.defineProperty(new File([content], path.slice(path.lastIndexOf('/') + 1)), 'webkitRelativePath', {
    value: `chosen/${path}`,
  });
const png = (channels: number, ...data: number[]) =>
  encode({
    width: 2,
    height: data.length / channels / 2,
    channels,
    depth: 8,
    data: Uint8Array.from(data),
  }).slice();
const red = png(3, 200, 0, 0, 200, 0, 0);
const split = png(3, 200, 0, 0, 0, 0, 200);
const unit = { mean: [0, 0, 0], std: [1, 1, 1] };

it('reads a folder per class from files, and gives their batches', async () => {
  const { train, validation } = await readDataSet(
    [file('train/red/1.png', red), file('train/split/1.png', split), file('val/red/2.png', red)],
    'classify',
  );
  expect([train.classes, train.samples.length, validation.samples.length]).toEqual([['red', 'split'], 2, 1]);
  const loader = createLoader(train, { size: [1, 2], batch: 2, shuffle: false, normalize: unit });
  for await (const { inputs, shape, targets } of loader.epoch(0)) {
    expect(shape).toEqual([2, 1, 2, 3]);
    expect(Array.from(inputs, (value) => Math.round(value * 255))).toEqual([
      200, 0, 0, 200, 0, 0, 200, 0, 0, 0, 0, 200,
    ]);
    expect(targets).toEqual([0, 1]);
  }
});

it('reads boxes and masks too', async () => {
  const box = '<bndbox><xmin>2</xmin><ymin>1</ymin><xmax>2</xmax><ymax>1</ymax></bndbox>';
  const xml = `<annotation><object><name>x</name>${box}</object></annotation>`;
  const boxes = await readDataSet(
    [file('train/1.png', red), file('train/1.xml', xml), file('val/1.png', red), file('val/1.xml', xml)],
    'detect',
  );
  expect(boxes.train.samples[0]!.target).toEqual([{ box: [1, 0, 2, 1], label: 0 }]);
  const masks = await readDataSet(
    [
      file('images/1.png', red),
      file('masks/1.png', png(1, 0, 1)),
      file('images/2.png', red),
      file('masks/2.png', png(1, 1, 255)),
    ],
    'segment',
    { validationSplit: 0.5 },
  );
  const targets = [];
  for (const data of [masks.train, masks.validation])
    for await (const batch of createLoader(data, { size: [1, 2], batch: 1 }).epoch(0))
      targets.push(batch.names[0], [...batch.targets[0]!.labels]);
  expect(targets).toHaveLength(4);
  expect(targets[targets.indexOf('images/2.png') + 1]).toEqual([1, 255]);
});

it('refuses paths and workers', async () => {
  await expect(readDataSet('bccd', 'detect')).rejects.toThrow(
    expect.objectContaining({ code: 'folder-unreadable', message: expect.stringContaining('bccd') }),
  );
  const data = {
    task: 'classify',
    classes: ['x'],
    samples: [{ name: 'a', source: new Blob([red]), target: 0 }],
  } as const;
  expect(() => createLoader(data, { size: [1, 2], batch: 1, workers: 2 })).toThrow('no workers in a browser');
});
