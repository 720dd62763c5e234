import { createRandom } from '@pvt/core';
import { describe, expect, it } from 'vitest';
import { mix } from './mix.ts';

/** Four images, each filled with its index and of a class of its own. */
function batch() {
  const shape = [4, 8, 8, 3] as const;
  const inputs = Float32Array.from({ length: 4 * 192 }, (_, i) => Math.floor(i / 192));
  const soft = Float32Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0));
  return { shape, inputs, soft };
}
const mean = (values: Float32Array) => values.reduce((a, b) => a + b, 0) / values.length;

describe('mix', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('mixes classes in proportion to their pixels, seed %i', (seed) => {
    for (const options of [{ mixup: 0.8 }, { cutmix: 1 }, { mixup: 0.8, cutmix: 1 }]) {
      const { shape, inputs, soft } = batch();
      const share = mix(inputs, shape, soft, options, createRandom(seed));
      expect(share).toBeGreaterThanOrEqual(0);
      expect(share).toBeLessThanOrEqual(1);
      for (let i = 0; i < 4; i++) {
        const own = soft.subarray(i * 4, i * 4 + 4);
        expect(own[i]).toBeCloseTo(share, 6);
        expect(own[3 - i]).toBeCloseTo(1 - share, 6);
        // Each image shows its index, so its mean is the mean of its classes.
        expect(mean(inputs.subarray(i * 192, (i + 1) * 192))).toBeCloseTo(
          i * share + (3 - i) * (1 - share),
          4,
        );
      }
    }
  });

  it('blends every pixel by mixup, and takes whole pixels by cutmix', () => {
    const blended = batch();
    const share = mix(blended.inputs, blended.shape, blended.soft, { mixup: 1 }, createRandom(1));
    expect(new Set(blended.inputs.subarray(0, 192))).toEqual(new Set([Math.fround(3 * (1 - share))]));
    const cut = batch();
    mix(cut.inputs, cut.shape, cut.soft, { cutmix: 1 }, createRandom(4));
    expect([...new Set(cut.inputs.subarray(0, 192))].sort()).toEqual([0, 3]);
  });

  it('draws shares from Beta(alpha, alpha): mean 1/2, variance 1 / (8 alpha + 4)', () => {
    for (const alpha of [0.2, 1, 3]) {
      const random = createRandom(alpha);
      const shares = Float32Array.from({ length: 4000 }, () =>
        mix(new Float32Array(6), [2, 1, 1, 3], new Float32Array(2), { mixup: alpha }, random),
      );
      const middle = mean(shares);
      expect(Math.abs(middle - 0.5)).toBeLessThan(0.03);
      expect(mean(shares.map((share) => (share - middle) ** 2)) * (8 * alpha + 4)).toBeCloseTo(1, 1);
    }
  });

  it('leaves a batch with probability 0 unchanged, and the middle image of an odd batch', () => {
    const { shape, inputs, soft } = batch();
    expect(mix(inputs, shape, soft, { mixup: 1, probability: 0 }, createRandom(1))).toBe(1);
    expect({ inputs, soft }).toEqual({ inputs: batch().inputs, soft: batch().soft });
    const three = batch();
    mix(three.inputs, [3, 8, 8, 3], three.soft.subarray(0, 12), { mixup: 1 }, createRandom(1));
    expect([...three.soft.subarray(4, 8)]).toEqual([0, 1, 0, 0]);
  });

  it('refuses invalid options', () => {
    const { shape, inputs, soft } = batch();
    for (const options of [{}, { mixup: 0 }, { cutmix: NaN }, { mixup: 1, probability: 2 }])
      expect(() => mix(inputs, shape, soft, options, createRandom(1))).toThrow('mix: expected');
  });
});
