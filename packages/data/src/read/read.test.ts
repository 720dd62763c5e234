import { decode, encode } from 'fast-png';
import { describe, expect, it } from 'vitest';
import { readLabels } from '../mask.ts';
import type { SourceReader, Task } from '../dataSet.ts';
import { readFiles, type ReadOptions } from './read.ts';

/** Files in memory, whose source is their content. */
const reader: SourceReader<string | Uint8Array> = {
  readImage: () => Promise.reject(new Error('no image is decoded to read a data set')),
  readBytes: (content) =>
    Promise.resolve(typeof content === 'string' ? new TextEncoder().encode(content) : content),
};
type Tree = Record<string, string | Uint8Array>;
const read = <K extends Task>(tree: Tree, task: K, options: ReadOptions = {}) =>
  readFiles(
    Object.entries(tree).map(([path, source]) => ({ path, source })),
    task,
    reader,
    'the tree',
    options,
  );
const fails = (tree: Tree, task: Task, code: string, message: string, options: ReadOptions = {}) =>
  expect(read(tree, task, options)).rejects.toThrow(
    expect.objectContaining({ name: 'DataError', code, message: expect.stringContaining(message) }),
  );
const images = (...paths: string[]): Tree => Object.fromEntries(paths.map((path) => [path, path]));
const names = ({ samples }: { samples: readonly { name: string }[] }) => samples.map(({ name }) => name);

describe('folders', () => {
  it('orders classes alphabetically, and uses train and val as they are', async () => {
    const { layout, train, validation, summary } = await read(
      images('train/dog/1.jpg', 'train/cat/1.png', 'val/dog/2.JPEG', 'train/cat/notes.md'),
      'classify',
    );
    expect(layout).toBe('folders');
    expect(train.classes).toEqual(['cat', 'dog']);
    expect(train.samples).toEqual([
      { name: 'train/cat/1.png', source: 'train/cat/1.png', target: 0 },
      { name: 'train/dog/1.jpg', source: 'train/dog/1.jpg', target: 1 },
    ]);
    expect(names(validation)).toEqual(['val/dog/2.JPEG']);
    expect(summary).toBe('a folder per class: 2 to train, 1 to validate; 2 classes (cat, dog)');
  });

  it('validates with test if there is no val', async () => {
    const both = images('train/a/1.jpg', 'test/a/2.jpg');
    expect(names((await read(both, 'classify')).validation)).toEqual(['test/a/2.jpg']);
    const three = await read({ ...both, ...images('valid/a/3.jpg') }, 'classify');
    expect([names(three.validation), names(three.test!)]).toEqual([['valid/a/3.jpg'], ['test/a/2.jpg']]);
  });

  it('holds out the same share of every class, drawn by the seed', async () => {
    const tree = images(
      ...Array.from({ length: 20 }, (_, i) => `a/${i}.jpg`),
      ...Array.from({ length: 10 }, (_, i) => `b/${i}.jpg`),
    );
    const { train, validation, notes } = await read(tree, 'classify', { seed: 3, validationSplit: 0.1 });
    expect(validation.samples.map(({ target }) => target)).toEqual([0, 0, 1]);
    expect([...names(train), ...names(validation)].sort()).toEqual(Object.keys(tree).sort());
    expect(notes).toEqual([expect.stringContaining('3 of 30 images are held out')]);
    expect(names((await read(tree, 'classify', { seed: 3, validationSplit: 0.1 })).validation)).toEqual(
      names(validation),
    );
    expect(names((await read(tree, 'classify', { seed: 4, validationSplit: 0.1 })).validation)).not.toEqual(
      names(validation),
    );
  });

  it('reports what is missing or unknown', async () => {
    await fails({}, 'classify', 'data-empty', 'got no file in the tree');
    await fails(images('1.jpg', '2.jpg'), 'classify', 'data-empty', 'got 2 files, 2 of them images');
    await fails(
      images('train/cat/1.jpg', 'val/dog/1.jpg'),
      'classify',
      'class-unknown',
      'got dog of val/dog/1.jpg',
    );
    await fails(images('cat/1.jpg', 'emu/1.jpg'), 'classify', 'class-unknown', 'emu', {
      classes: ['cat', 'dog'],
    });
    await fails(images('cat/1.jpg'), 'classify', 'split-empty', 'got none for validation');
    await expect(read({}, 'draw' as Task)).rejects.toThrow(
      'expected the task classify, segment, detect, got draw',
    );
    await expect(read({}, 'classify', { validationSplit: 1 })).rejects.toThrow(
      'expected a validationSplit between 0 and 1',
    );
    await expect(read({}, 'classify', { classes: ['a', 'a'] })).rejects.toThrow('expected distinct names');
  });
});

const xml = (...boxes: [string, number, number, number, number][]) =>
  [
    '<annotation><filename>other.jpg</filename><size><width>64</width><height>48</height></size>',
    ...boxes.map(([name, left, top, right, bottom]) => {
      const start = `<xmin>${left}</xmin><ymin>${top}</ymin>`;
      const end = `<xmax>${right}</xmax><ymax>${bottom}</ymax>`;
      return `<object><name>${name}</name><bndbox>${start}${end}</bndbox></object>`;
    }),
    '</annotation>',
  ].join('');

describe('Pascal VOC', () => {
  const tree: Tree = {
    'Annotations/1.xml': xml(['rbc', 1, 1, 20, 20]),
    'Annotations/2.xml': xml(['wbc', 11, 11, 30, 30], ['rbc', 1, 1, 64, 48]),
    'Annotations/3.xml': xml(),
    'ImageSets/Main/train.txt': '1\r\n2 -1\n',
    'ImageSets/Main/val.txt': '3\n',
    'ImageSets/Main/trainval.txt': '1\n2\n3\n',
    ...images('JPEGImages/1.jpg', 'JPEGImages/2.png', 'JPEGImages/3.jpg', 'SegmentationClass/1.png'),
  };

  it('reads annotations, lists and images of any extension', async () => {
    const { layout, train, validation, summary, notes } = await read(tree, 'detect');
    expect(layout).toBe('voc');
    expect(train.samples).toEqual([
      {
        name: 'JPEGImages/1.jpg',
        source: 'JPEGImages/1.jpg',
        size: [48, 64],
        target: [{ box: [0, 0, 20, 20], label: 0 }],
      },
      {
        name: 'JPEGImages/2.png',
        source: 'JPEGImages/2.png',
        size: [48, 64],
        target: [
          { box: [10, 10, 30, 30], label: 1 },
          { box: [0, 0, 64, 48], label: 0 },
        ],
      },
    ]);
    expect(names(validation)).toEqual(['JPEGImages/3.jpg']);
    expect(summary).toBe('Pascal VOC: 2 to train, 1 to validate; 2 classes (rbc, wbc)');
    expect(notes).toEqual([]);
  });

  it('reads annotations beside their images, in folders of splits', async () => {
    const { train, validation } = await read(
      {
        'train/a.xml': xml(['x', 1, 1, 9, 9]),
        'valid/a.xml': xml(),
        ...images('train/a.jpg', 'valid/a.jpg'),
      },
      'detect',
    );
    expect([names(train), names(validation)]).toEqual([['train/a.jpg'], ['valid/a.jpg']]);
  });

  it('cuts boxes to the image and drops those without area, with notes', async () => {
    const { train, notes } = await read(
      {
        ...tree,
        'Annotations/1.xml': xml(
          ['rbc', -5, 1, 20, 80],
          ['wbc', 70, 1, 90, 9],
          ['rbc', 9, 9, 8, 20],
          ['wbc', 0, 0, 64, 48],
        ),
      },
      'detect',
    );
    expect(train.samples[0]!.target).toEqual([
      { box: [0, 0, 20, 48], label: 0 },
      { box: [0, 0, 64, 48], label: 1 },
    ]);
    const ofImage = 'of JPEGImages/1.jpg, 64 wide and 48 high,';
    expect(notes).toEqual([
      `rbc [-6, 0, 20, 80] ${ofImage} reaches beyond the image and is cut (Annotations/1.xml)`,
      `wbc [69, 0, 90, 9] ${ofImage} has no area in the image and is left out (Annotations/1.xml)`,
      `rbc [8, 8, 8, 20] ${ofImage} has no area in the image and is left out (Annotations/1.xml)`,
    ]);
  });

  it('names the broken, missing or unknown file', async () => {
    const { 'JPEGImages/3.jpg': _, ...without } = tree;
    await fails(
      without,
      'detect',
      'image-missing',
      'an image for Annotations/3.xml, got none called 3 or other',
    );
    await fails(
      { ...tree, 'JPEGImages/3.webp': '' },
      'detect',
      'image-ambiguous',
      'got JPEGImages/3.jpg and JPEGImages/3.webp',
    );
    await fails(
      { ...tree, 'Annotations/2.xml': '<annotation>' },
      'detect',
      'annotation-broken',
      'Annotations/2.xml',
    );
    await fails(
      { ...tree, 'ImageSets/Main/val.txt': '3\n4\n' },
      'detect',
      'annotation-missing',
      'got none for 4',
    );
    await fails(
      { ...tree, 'ImageSets/Main/val.txt': '3\n1\n' },
      'detect',
      'split-overlap',
      'got 1 in train and in ImageSets/Main/val.txt',
    );
    await fails(tree, 'detect', 'class-unknown', 'got wbc in Annotations/2.xml', { classes: ['rbc'] });
    await fails(images('a.jpg'), 'detect', 'data-empty', 'VOC annotations (*.xml) or a COCO file');
  });
});

describe('COCO', () => {
  const coco = (
    file: string,
    categories = [
      { id: 1, name: 'dog' },
      { id: 0, name: 'cat' },
    ],
  ) =>
    JSON.stringify({
      images: [{ id: 1, file_name: file, width: 64, height: 48 }],
      categories,
      annotations: [{ image_id: 1, category_id: 1, bbox: [1, 2, 3, 4] }],
    });
  const target = [{ box: [1, 2, 4, 6], label: 1 }];

  it('reads the layout of COCO itself', async () => {
    const { layout, train, validation, notes } = await read(
      {
        'annotations/instances_train2017.json': coco('1.jpg'),
        'annotations/instances_val2017.json': coco('1.jpg'),
        'annotations/captions_val2017.json': '{"images":[],"annotations":[]}',
        ...images('train2017/1.jpg', 'val2017/1.jpg'),
      },
      'detect',
    );
    expect(layout).toBe('coco');
    expect(train).toEqual({
      task: 'detect',
      classes: ['cat', 'dog'],
      samples: [{ name: 'train2017/1.jpg', source: 'train2017/1.jpg', size: [48, 64], target }],
    });
    expect(names(validation)).toEqual(['val2017/1.jpg']);
    expect(notes).toEqual([expect.stringContaining('captions_val2017.json')]);
  });

  it('reads a file in the folder of each split', async () => {
    const { train, validation } = await read(
      {
        'train/_annotations.coco.json': coco('a.jpg'),
        'valid/_annotations.coco.json': coco('a.jpg'),
        ...images('train/a.jpg', 'valid/a.jpg'),
      },
      'detect',
    );
    expect([names(train), names(validation)]).toEqual([['train/a.jpg'], ['valid/a.jpg']]);
  });

  it('names the broken, missing or unknown file', async () => {
    await fails({ 'a.json': coco('1.jpg') }, 'detect', 'image-missing', 'an image for 1.jpg in a.json');
    await fails({ 'a.json': '{' }, 'detect', 'annotation-broken', 'a.json');
    await fails(
      {
        'train.json': coco('1.jpg', [{ id: 1, name: 'dog' }]),
        'val.json': coco('2.jpg', [{ id: 1, name: 'emu' }]),
        ...images('1.jpg', '2.jpg'),
      },
      'detect',
      'class-unknown',
      'got emu in val.json',
    );
    await fails({ 'a.json': '{}' }, 'detect', 'data-empty', 'a COCO file with images');
  });
});

describe('masks', () => {
  const grey = (...data: number[]) =>
    encode({ width: data.length, height: 1, channels: 1, depth: 8, data: Uint8Array.from(data) });
  const tree = {
    ...images('images/a.jpg', 'images/b.png', 'images/c.jpg'),
    'masks/a.png': grey(0, 1, 1),
    'masks/b.png': grey(0, 0, 255),
    'masks/c.png': grey(1, 0, 0),
    'train.txt': 'a\nb.png\n',
    'val.txt': 'c\n',
  };

  it('pairs by name, divides by lists and counts the classes', async () => {
    const { layout, train, validation } = await read(tree, 'segment');
    expect(layout).toBe('masks');
    expect(train.classes).toEqual(['background', 'foreground']);
    expect(train.samples).toEqual([
      {
        name: 'images/a.jpg',
        source: 'images/a.jpg',
        target: { mask: tree['masks/a.png'], foreground: false },
      },
      {
        name: 'images/b.png',
        source: 'images/b.png',
        target: { mask: tree['masks/b.png'], foreground: false },
      },
    ]);
    expect(names(validation)).toEqual(['images/c.jpg']);
  });

  it('reads splits as folders, inside or outside', async () => {
    const inner = await read(
      {
        ...images('images/training/a.jpg', 'images/validation/a.jpg'),
        'annotations/training/a.png': grey(0, 5),
        'annotations/validation/a.png': grey(1),
      },
      'segment',
    );
    expect([names(inner.train), names(inner.validation), inner.train.classes]).toEqual([
      ['images/training/a.jpg'],
      ['images/validation/a.jpg'],
      ['class 0', 'class 1', 'class 2', 'class 3', 'class 4', 'class 5'],
    ]);
    const outer = await read(
      {
        ...images('train/images/a.jpg', 'val/images/a.jpg'),
        'train/masks/a.png': grey(0, 1),
        'val/masks/a.png': grey(0, 1),
        'classes.txt': 'sky\nsea\n',
      },
      'segment',
    );
    expect([names(outer.train), names(outer.validation), outer.train.classes]).toEqual([
      ['train/images/a.jpg'],
      ['val/images/a.jpg'],
      ['sky', 'sea'],
    ]);
  });

  it('takes 255 for the foreground if all masks hold only 0 and 255', async () => {
    const two = { ...tree, 'masks/a.png': grey(0, 255, 255), 'masks/c.png': grey(255, 0, 0) };
    const { train } = await read(two, 'segment', { classes: ['background', 'nucleus'] });
    const target = train.samples[0]!.target as { mask: Uint8Array; foreground: boolean };
    expect(target.foreground).toBe(true);
    expect(await readLabels(target, 2, 'a', reader)).toEqual({
      width: 3,
      height: 1,
      labels: Uint16Array.of(0, 1, 1),
    });
    await expect(readLabels({ mask: grey(0, 7), foreground: true }, 2, 'a', reader)).rejects.toThrow(
      'expected only 0 and 255, as in the other masks, got 7 in a',
    );
  });

  it('names the missing or invalid file', async () => {
    const { 'masks/b.png': _, ...without } = tree;
    await fails(without, 'segment', 'mask-missing', 'images/b.png');
    await fails(
      { ...tree, 'masks/a.gif': '' },
      'segment',
      'mask-ambiguous',
      'got masks/a.gif and masks/a.png',
    );
    await fails({ ...tree, 'val.txt': 'd' }, 'segment', 'image-missing', 'got none called d');
    await fails({ ...tree, 'val.txt': 'a' }, 'segment', 'split-overlap', 'got a in train');
    await fails(
      { ...tree, 'masks/b.png': grey(1, 2).subarray(0, 40) },
      'segment',
      'mask-broken',
      'masks/b.png',
    );
    await fails(
      {
        ...tree,
        'masks/b.png': encode({ width: 1, height: 1, channels: 3, depth: 8, data: Uint8Array.of(1, 2, 3) }),
      },
      'segment',
      'mask-coloured',
      'the color 1, 2, 3 in masks/b.png',
    );
    await fails(images('a.jpg'), 'segment', 'data-empty', 'images in images/ and their masks');
  });

  it('reads palettes, few bits per pixel, and alpha', async () => {
    const values = async (bytes: Uint8Array) => [
      ...(await readLabels({ mask: bytes, foreground: false }, 16, 'a', reader)).labels,
    ];
    const png = (settings: object, data: number[]) =>
      encode({ width: 3, height: 2, channels: 1, depth: 8, data: Uint8Array.from(data), ...settings });
    expect(await values(png({ channels: 2 }, [5, 255, 4, 0, 3, 255, 2, 255, 1, 255, 0, 255]))).toEqual([
      5, 4, 3, 2, 1, 0,
    ]);
    // Rows of 3 pixels in 2 bits each: 1 2 3 and 0 1 2.
    const packed = palettePng(3, 2, 2, [0b01101100, 0b00011000]);
    expect(decode(packed).palette).toHaveLength(4);
    expect(await values(packed)).toEqual([1, 2, 3, 0, 1, 2]);
    await expect(values(png({}, [0, 1, 16, 0, 0, 0]))).rejects.toThrow(
      expect.objectContaining({ code: 'mask-value', message: expect.stringContaining('got 16 in a') }),
    );
    expect(await values(png({}, [0, 1, 255, 0, 0, 0]))).toEqual([0, 1, 255, 0, 0, 0]);
  });
});

/** A PNG with a palette, written by hand: stored deflate blocks hold rows of whole bytes. */
function palettePng(width: number, height: number, depth: number, rows: number[]): Uint8Array {
  const chunk = (type: string, data: number[]) => {
    const bytes = [...new TextEncoder().encode(type), ...data];
    return [...big(data.length), ...bytes, ...big(crc(bytes))];
  };
  const raw = rows.flatMap((row) => [0, row]);
  const zlib = [0x78, 1, 1, raw.length, 0, 255 - raw.length, 255, ...raw, ...big(adler(raw))];
  return Uint8Array.from([
    137,
    80,
    78,
    71,
    13,
    10,
    26,
    10,
    ...chunk('IHDR', [...big(width), ...big(height), depth, 3, 0, 0, 0]),
    ...chunk(
      'PLTE',
      Array.from({ length: 12 }, (_, i) => 20 * i),
    ),
    ...chunk('IDAT', zlib),
    ...chunk('IEND', []),
  ]);
}
const big = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
const crc = (bytes: number[]) => {
  let state = -1;
  for (const byte of bytes) {
    state ^= byte;
    for (let i = 0; i < 8; i++) state = (state >>> 1) ^ (state & 1 ? 0xedb88320 : 0);
  }
  return ~state >>> 0;
};
const adler = (bytes: number[]) => {
  let [a, b] = [1, 0];
  for (const byte of bytes) [a, b] = [(a + byte) % 65521, (b + a + byte) % 65521];
  return ((b << 16) | a) >>> 0;
};
