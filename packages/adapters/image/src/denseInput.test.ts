import { createHash } from 'node:crypto';
import { ConfigError, imageNetNormalization, type ResizeMethod, type Size } from '@pvt/core';
import { describe, expect, it, test } from 'vitest';
import { boundedSize, denseInput, letterboxSize, type DenseInputOptions } from './denseInput.ts';
import { synthetic } from './fixtures/synthetic.ts';
import { normalize } from './normalize.ts';
import { resize } from './resize.ts';

const sha256 = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  createHash('sha256')
    .update(new Uint8Array(buffer, byteOffset, byteLength))
    .digest('hex')
    .slice(0, 16);
const options = (more: Partial<DenseInputOptions>): DenseInputOptions => ({
  size: { shortSide: 128, longSide: 300, multiple: 32 },
  resize: 'pillow',
  normalize: imageNetNormalization,
  ...more,
});

describe('the resize of published checkpoints', () => {
  // Hashes of what detectors and segmenters were fed before training and use shared one function; the heads'
  // goldens in tooling/golden compare the same path with torchvision's own transform.
  test.each<[number, number, number, number, Partial<DenseInputOptions>, Size, Size, string]>([
    [333, 257, 200, 230, { resize: 'torchvision' }, [192, 256], [177, 230], 'dd94faf607e512eb'],
    [333, 257, 200, 230, { resize: 'opencv' }, [192, 256], [178, 230], '9ebe0b1b054c9373'],
    [333, 257, 200, 230, { resize: 'opencv', align: 'stretch' }, [192, 256], [192, 256], '7d18fc9c8676a8ba'],
    [97, 180, 128, 300, { resize: 'torchvision' }, [256, 128], [237, 128], '1c255da1281f568b'],
    [97, 180, 128, 300, { resize: 'opencv' }, [256, 128], [238, 128], '38dc8bbf32762057'],
    [97, 180, 128, 300, { resize: 'opencv', align: 'stretch' }, [256, 128], [256, 128], '45e2083530b63d3c'],
    [61, 43, 150, 190, { resize: 'torchvision' }, [160, 192], [133, 190], '5491c10fe6d537e7'],
    [61, 43, 150, 190, { resize: 'opencv' }, [160, 192], [134, 190], '10ae3b9b8211b0e7'],
    [61, 43, 150, 190, { resize: 'opencv', align: 'stretch' }, [160, 192], [160, 192], 'd877a008ca0f0528'],
  ])('%i x %i within %i and %i, %j', (width, height, shortSide, longSide, how, size, contentSize, hash) => {
    const bounds = { shortSide, longSide, multiple: 32 };
    const input = denseInput(synthetic(width, height), options({ size: bounds, ...how }));
    expect(input.size).toEqual(size);
    expect(input.placement).toEqual({ contentSize, originalSize: [height, width] });
    expect(sha256(input.values)).toBe(hash);
  });

  it('bounds sizes as mmcv and torchvision do', () => {
    const bounds = { shortSide: 800, longSide: 1333, multiple: 32 };
    // COCO's usual 480x640, and a panorama whose longer side decides.
    expect(boundedSize([480, 640], bounds, 'opencv')).toEqual([800, 1067]);
    expect(boundedSize([480, 640], bounds, 'torchvision')).toEqual([800, 1066]);
    expect(boundedSize([200, 2000], bounds, 'opencv')).toEqual([133, 1333]);
  });
});

describe("this library's own resize", () => {
  const image = synthetic(97, 180);

  it("is Pillow's, normalized in float32, with zeros right and below", () => {
    const { values, size, placement } = denseInput(image, options({}));
    expect([size, placement]).toEqual([[256, 128], { contentSize: [238, 128], originalSize: [180, 97] }]);
    const content = normalize(resize(image, [238, 128], 'bilinear'), {
      rescale: 1 / 255,
      normalize: imageNetNormalization,
    });
    expect(values.subarray(0, content.length)).toEqual(content);
    expect(values.subarray(content.length)).toEqual(new Float32Array(18 * 128 * 3));
  });

  it('letterboxes into a fixed size', () => {
    const { values, size, placement } = denseInput(image, options({ size: [90, 80] }));
    expect([size, placement.contentSize]).toEqual([
      [90, 80],
      [90, 49],
    ]);
    const content = denseInput(resize(image, [90, 49], 'bilinear'), options({ size: [90, 49] })).values;
    for (let y = 0; y < 90; y++) {
      expect(values.subarray(y * 240, y * 240 + 147)).toEqual(content.subarray(y * 147, (y + 1) * 147));
      expect(values.subarray(y * 240 + 147, (y + 1) * 240)).toEqual(new Float32Array(93));
    }
  });

  it('has sides of at least a pixel', () => {
    expect(letterboxSize([1000, 1], [10, 10])).toEqual([10, 1]);
    expect(letterboxSize([480, 640], [240, 320], 1.5)).toEqual([360, 480]);
  });
});

it.each(['pillow', 'opencv', 'torchvision'] as const)(
  '%s changes no pixel of an image of that size',
  (method) => {
    const image = synthetic(64, 32);
    const normalization = { mean: [0, 0, 0], std: [1, 1, 1] };
    const { values } = denseInput(
      image,
      options({ size: [32, 64], resize: method, normalize: normalization }),
    );
    expect(Uint8Array.from(values, (value) => Math.round(value * 255))).toEqual(image.data);
  },
);

it('refuses an unknown resize', () => {
  expect(() => denseInput(synthetic(8, 8), options({ resize: 'nearest' as ResizeMethod }))).toThrow(
    ConfigError,
  );
  expect(() => denseInput(synthetic(8, 8), options({ resize: 'nearest' as ResizeMethod }))).toThrow(
    /one of pillow, opencv, torchvision, got nearest/,
  );
});
