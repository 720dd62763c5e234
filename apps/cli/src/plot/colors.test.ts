import { createRandom } from '@pvt/core';
import { describe, expect, it } from 'vitest';
import { colorAt, colorMaps, colorOf, principalComponents, stretch } from './colors.ts';

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);

describe('principalComponents', () => {
  it('finds the axes that the values were made from', () => {
    const random = createRandom(3);
    const positions = 400;
    const weights = Array.from(
      { length: positions },
      () => [9 * random.normal(), 3 * random.normal()] as const,
    );
    // Two orthonormal directions in four channels, and an offset that must not matter.
    const values = Float32Array.from(
      weights.flatMap(([a, b]) => [0.6 * a + 7, 0.8 * a - 2, 0.8 * b, 0.6 * b + 1]),
    );
    const [first, second, third] = principalComponents(values, 4, 3) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    expect(dot(first, first)).toBeGreaterThan(dot(second, second));
    expect(dot(first, second) / dot(first, first)).toBeCloseTo(0, 6);
    // All variance lies in the two; the third direction has none.
    const mean = [0, 1].map((k) => weights.reduce((sum, weight) => sum + weight[k]!, 0) / positions);
    const variance = weights.reduce(
      (sum, weight) => sum + (weight[0] - mean[0]!) ** 2 + (weight[1] - mean[1]!) ** 2,
      0,
    );
    expect((dot(first, first) + dot(second, second)) / variance).toBeCloseTo(1, 5);
    expect(dot(third, third) / variance).toBeCloseTo(0, 5);
  });

  it('is zero where nothing varies or channels are few', () => {
    const components = principalComponents(new Float32Array(12).fill(3), 2, 3);
    expect(components.map((component) => [...component])).toEqual([
      new Array(6).fill(0),
      new Array(6).fill(0),
      new Array(6).fill(0),
    ]);
  });
});

it('gives colors that a screen has', () => {
  const random = createRandom(1);
  const components = [0, 1, 2].map(() => Float64Array.from({ length: 200 }, () => random.normal()));
  for (const value of colorOf(components).flat()) expect(value >= 0 && value <= 255).toBe(true);
  // Equal components are the middle gray: red, green and blue alike.
  const [gray] = colorOf([0, 1, 2].map(() => new Float64Array(1)));
  expect(Math.max(...gray!) - Math.min(...gray!)).toBeLessThan(0.01);
});

it('meets the ends of a color map and grows lighter between them', () => {
  expect(colorAt(colorMaps.viridis, 0)).toEqual([0x44, 0x01, 0x54]);
  expect(colorAt(colorMaps.viridis, 1)).toEqual([0xfd, 0xe7, 0x25]);
  for (const map of Object.values(colorMaps)) {
    const light = Array.from({ length: 50 }, (_, i) => dot(colorAt(map, i / 49), [0.2126, 0.7152, 0.0722]));
    expect(light).toEqual([...light].sort((a, b) => a - b));
  }
});

it('stretches to the whole range', () => {
  expect(stretch([2, 4, 3])).toEqual([0, 1, 0.5]);
  expect(stretch([7, 7])).toEqual([0.5, 0.5]);
});
