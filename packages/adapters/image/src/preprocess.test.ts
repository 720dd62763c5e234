import { createHash } from 'node:crypto';
import { ConfigError, ShapeError, type Image, type Preprocessing } from '@pvt/core';
import { expectNoLeak, useBackend } from '@pvt/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { centerCrop } from './crop.ts';
import goldens from './fixtures/preprocess.json' with { type: 'json' };
import { synthetic } from './fixtures/synthetic.ts';
import { normalize } from './normalize.ts';
import { preprocess } from './preprocess.ts';
import { resize, shortSideSize } from './resize.ts';

beforeAll(() => useBackend('cpu'));

const imagenet = { rescale: 1 / 255, normalize: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } };

describe.each(goldens)(
  '$pipeline on $width x $height',
  ({ width, height, recipe: preprocessing, pixels, normalized }) => {
    const image = synthetic(width, height);
    const steps = { ...preprocessing, ...imagenet } as Preprocessing;

    test('the 8-bit pixels are equal', () => {
      const { to, resampling } = steps.resize!;
      const resized = resize(image, 'size' in to ? to.size : shortSideSize(image, to.shortSide), resampling);
      const { data } = steps.crop ? centerCrop(resized, steps.crop) : resized;
      expect(pixels.samples.map((_value, k) => data[k * pixels.step])).toEqual(pixels.samples);
      if (pixels.sha256 !== undefined)
        expect(createHash('sha256').update(data).digest('hex')).toBe(pixels.sha256);
    });

    test('the normalized values are equal in float32', async () => {
      const input = preprocess(image, steps);
      expect(input.shape).toEqual([1, 224, 224, 3]);
      expect(input.dtype).toBe('float32');
      const nchw = tf.transpose(input, [0, 3, 1, 2]);
      const values = await nchw.data<'float32'>();
      input.dispose();
      nchw.dispose();
      expect(normalized.samples.map((_value, k) => values[k * normalized.step])).toEqual(
        normalized.samples.map(Math.fround),
      );
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const l2 = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
      expect(mean).toBeCloseTo(normalized.mean, 7);
      expect(l2 / normalized.l2).toBeCloseTo(1, 7);
    });
  },
);

describe('centerCrop', () => {
  /** One row whose pixels are their own positions, from 1. */
  const row = (width: number): Image => ({
    width,
    height: 1,
    data: Uint8Array.from({ length: width * 3 }, (_, i) => Math.floor(i / 3) + 1),
  });
  const columns = ({ data }: Image) => Array.from(data).filter((_, i) => i % 3 === 0);

  // torchvision: int(round((from - to) / 2)), Python's round taking halves to even: 0.5 is 0, 1.5 is 2, 2.5
  // is 2.
  test.each([
    [5, 3, [2, 3, 4]],
    [4, 3, [1, 2, 3]],
    [6, 3, [3, 4, 5]],
    [8, 3, [3, 4, 5]],
  ])('%i to %i', (from, to, expected) => {
    expect(columns(centerCrop(row(from), [1, to]))).toEqual(expected);
  });

  // torchvision pads (to - from) // 2 before and (to - from + 1) // 2 after.
  test.each([
    [2, 4, [0, 1, 2, 0]],
    [2, 5, [0, 1, 2, 0, 0]],
  ])('%i to %i is padded with black', (from, to, expected) => {
    expect(columns(centerCrop(row(from), [1, to]))).toEqual(expected);
  });

  test('larger one way, smaller the other', () => {
    const { width, height, data } = centerCrop(row(4), [3, 2]);
    expect([height, width]).toEqual([3, 2]);
    expect(Array.from(data)).toEqual([0, 0, 0, 0, 0, 0, 2, 2, 2, 3, 3, 3, 0, 0, 0, 0, 0, 0]);
  });

  test('rejects an invalid size', () => {
    expect(() => centerCrop(row(4), [0, 2])).toThrow(ConfigError);
    expect(() => centerCrop(row(4), [20_000, 20_000])).toThrow(
      expect.objectContaining({ code: 'crop-too-large' }),
    );
  });
});

describe('normalize', () => {
  const image: Image = { width: 1, height: 1, data: Uint8Array.of(0, 128, 255) };

  test('an absent step is not done', () => {
    expect(Array.from(normalize(image, {}))).toEqual([0, 128, 255]);
    expect(Array.from(normalize(image, { rescale: 0.5 }))).toEqual([0, 64, 127.5]);
    expect(Array.from(normalize(image, { normalize: { mean: [1, 64, 5], std: [2, 32, 10] } }))).toEqual([
      -0.5, 2, 25,
    ]);
  });

  test.each<[string, Pick<Preprocessing, 'rescale' | 'normalize'>]>([
    ['std of 0', { normalize: { mean: [0, 0, 0], std: [1, 0, 1] } }],
    ['std that is 0 in float32', { normalize: { mean: [0, 0, 0], std: [1, 1e-60, 1] } }],
    ['one channel', { normalize: { mean: [0.5], std: [0.5] } }],
    ['mean that is no number', { normalize: { mean: [0, Number.NaN, 0], std: [1, 1, 1] } }],
    ['rescale of 0', { rescale: 0 }],
    ['infinite rescale', { rescale: Number.POSITIVE_INFINITY }],
  ])('rejects preprocessing with %s', (_what, preprocessing) => {
    expect(() => normalize(image, preprocessing)).toThrow(ConfigError);
    expect(() => preprocess(image, preprocessing)).toThrow(
      expect.objectContaining({ code: 'preprocessing-invalid' }),
    );
  });
});

describe('preprocess', () => {
  test('a batch is its images one after another', () => {
    const images = [synthetic(20, 10), synthetic(31, 17)];
    const preprocessing: Preprocessing = {
      resize: { to: { shortSide: 12 }, resampling: 'bilinear' },
      crop: [11, 12],
      ...imagenet,
    };
    const batch = preprocess(images, preprocessing);
    expect(batch.shape).toEqual([2, 11, 12, 3]);
    const singles = images.map((image) => preprocess(image, preprocessing));
    expect(Array.from(batch.dataSync())).toEqual(singles.flatMap((single) => Array.from(single.dataSync())));
    for (const tensor of [batch, ...singles]) tensor.dispose();
  });

  test('empty preprocessing passes the pixels on', () => {
    const input = preprocess(synthetic(5, 4), {});
    expect(input.shape).toEqual([1, 4, 5, 3]);
    expect(Array.from(input.dataSync())).toEqual(Array.from(synthetic(5, 4).data));
    input.dispose();
  });

  test('allocates only its result, and does not change the images', async () => {
    const image = synthetic(20, 10);
    await expectNoLeak(() =>
      preprocess(image, { resize: { to: { size: [8, 8] }, resampling: 'box' }, ...imagenet }).dispose(),
    );
    expect(image).toEqual(synthetic(20, 10));
  });

  test('an error leaves no tensor', async () => {
    await expectNoLeak(() => {
      expect(() => preprocess([], imagenet)).toThrow(expect.objectContaining({ code: 'batch-empty' }));
      expect(() => preprocess([synthetic(5, 4), synthetic(4, 5)], imagenet)).toThrow(
        expect.objectContaining({ code: 'batch-mixed-sizes' }),
      );
      expect(() => preprocess({ width: 5, height: 4, data: new Uint8Array(59) }, imagenet)).toThrow(
        ShapeError,
      );
      expect(() => preprocess(synthetic(5, 4), { crop: [0, 1] })).toThrow(ConfigError);
    });
  });
});
