import { createHash } from 'node:crypto';
import { ConfigError, resamplings, ShapeError, type Image, type Resampling } from '@pvt/core';
import { describe, expect, test } from 'vitest';
import pillow from './fixtures/pillow.json' with { type: 'json' };
import { synthetic } from './fixtures/synthetic.ts';
import { resize, shortSideSize } from './resize.ts';

const sha256 = (image: Image) => createHash('sha256').update(image.data).digest('hex');

/** The image mirrored left and right, or top and bottom. */
function mirrored({ width, height, data }: Image, axis: 'x' | 'y'): Image {
  const copy = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = axis === 'x' ? y * width + (width - 1 - x) : (height - 1 - y) * width + x;
      copy.set(data.subarray(from * 3, from * 3 + 3), (y * width + x) * 3);
    }
  }
  return { width, height, data: copy };
}

test('the synthetic image is the one that the fixtures were made from', () => {
  expect(sha256(synthetic(333, 257))).toBe(
    'f17636a6368a6c9c9abf548ff75449170410aa01ca33f0f9feeadad3cf3a5013',
  );
});

describe.each(pillow)('$from to $to', ({ from, to, sha256: expected }) => {
  test.each(Object.entries(expected))('%s gives every byte that Pillow gives', (resampling, hash) => {
    const result = resize(synthetic(from[1]!, from[0]!), to as [number, number], resampling as Resampling);
    expect([result.height, result.width]).toEqual(to);
    expect(sha256(result)).toBe(hash);
  });
});

describe.each(resamplings)('%s', (resampling) => {
  const image = synthetic(61, 43);

  test('a constant image stays constant', () => {
    const constant = { width: 37, height: 23, data: new Uint8Array(37 * 23 * 3).fill(173) };
    for (const size of [
      [5, 90],
      [90, 5],
      [1, 1],
    ] as const) {
      expect(new Set(resize(constant, size, resampling).data)).toEqual(new Set([173]));
    }
  });

  test('the same size is the same image', () => {
    expect(resize(image, [43, 61], resampling)).toBe(image);
  });

  test('width and height are resized independently, the width first', () => {
    const once = resize(image, [20, 90], resampling);
    expect(once).toEqual(resize(resize(image, [43, 90], resampling), [20, 90], resampling));
  });
});

// Box and nearest are left out, because they break ties between two source pixels to one side.
test.each(['lanczos', 'bilinear', 'bicubic', 'hamming'] as const)(
  'mirroring commutes with %s',
  (resampling) => {
    const image = synthetic(61, 43);
    for (const axis of ['x', 'y'] as const) {
      for (const size of [
        [20, 30],
        [100, 110],
        [100, 17],
      ] as const) {
        expect(resize(mirrored(image, axis), size, resampling)).toEqual(
          mirrored(resize(image, size, resampling), axis),
        );
      }
    }
  },
);

test('shortSideSize cuts the long side to an integer', () => {
  expect(shortSideSize({ width: 333, height: 257 }, 248)).toEqual([248, 321]);
  expect(shortSideSize({ width: 333, height: 257 }, 256)).toEqual([256, 331]);
  expect(shortSideSize({ width: 97, height: 180 }, 248)).toEqual([460, 248]);
  expect(shortSideSize({ width: 50, height: 50 }, 224)).toEqual([224, 224]);
});

describe('errors', () => {
  const image = synthetic(4, 3);

  test.each([[[0, 4]], [[4]], [[4.5, 4]], [[Number.NaN, 4]], [[-1, 4]]])('size %j', (size) => {
    expect(() => resize(image, size as unknown as [number, number], 'box')).toThrow(
      expect.objectContaining({ code: 'preprocessing-invalid' }),
    );
    expect(() => resize(image, size as unknown as [number, number], 'box')).toThrow(ConfigError);
  });

  test('unknown filter', () => {
    expect(() => resize(image, [2, 2], 'cubic' as Resampling)).toThrow(
      /one of nearest, lanczos, bilinear, bicubic, box, hamming, got cubic/,
    );
  });

  test('a short side of 0', () => {
    expect(() => shortSideSize(image, 0)).toThrow(ConfigError);
  });

  test.each([
    ['too few bytes', { ...image, data: new Uint8Array(35) }],
    ['alpha', { ...image, data: new Uint8Array(48) }],
    ['a fractional size', { ...image, width: 4.5 }],
    ['an empty image', { width: 0, height: 0, data: new Uint8Array() }],
    ['floats', { ...image, data: new Float32Array(36) as unknown as Uint8Array }],
  ])('an image with %s', (_what, wrong) => {
    expect(() => resize(wrong, [2, 2], 'box')).toThrow(ShapeError);
    expect(() => resize(wrong, [2, 2], 'box')).toThrow(expect.objectContaining({ code: 'image-invalid' }));
  });

  test('a result that would exhaust the memory', () => {
    const thread = { width: 1, height: 1_000_000, data: new Uint8Array(3_000_000) };
    expect(() => resize(thread, shortSideSize(thread, 224), 'bicubic')).toThrow(
      expect.objectContaining({ code: 'resize-too-large' }),
    );
    expect(() => resize(thread, [1, 1000], 'bicubic')).toThrow(
      expect.objectContaining({ code: 'resize-too-large' }),
    );
  });
});
