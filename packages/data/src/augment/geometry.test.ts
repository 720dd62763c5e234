import { createRandom, type LabelledBox, type LabelMap, ignoredLabel } from '@pvt/core';
import { describe, expect, it } from 'vitest';
import { augment, type AugmentStep } from './augment.ts';
import type { LabelledImage } from '../dataSet.ts';
import { crop, erase, flip, resizeSample, rotate90 } from './geometry.ts';

const marked = [250, 10, 200] as const;

/** A gray image with one colored rectangle, and the rectangle as a box and as a label map. */
function marking(width: number, height: number, [left, top, right, bottom]: LabelledBox['box']) {
  const data = new Uint8Array(width * height * 3).fill(90);
  const labels = new Uint16Array(width * height);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      data.set(marked, (y * width + x) * 3);
      labels[y * width + x] = 3;
    }
  }
  const image = { width, height, data };
  const boxes: readonly LabelledBox[] = [{ box: [left, top, right, bottom], label: 2 }];
  const map: LabelMap = { width, height, labels };
  return { boxes: { image, target: boxes }, map: { image, target: map }, label: { image, target: 5 } };
}

/** The bounds of the pixels for which `test` holds. */
function bounds(width: number, height: number, test: (i: number) => boolean): number[] {
  const [xs, ys] = [[], []] as [number[], number[]];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!test(y * width + x)) continue;
      xs.push(x);
      ys.push(y);
    }
  }
  return xs.length === 0 ? [] : [Math.min(...xs), Math.min(...ys), Math.max(...xs) + 1, Math.max(...ys) + 1];
}
// A resize blends both colors at the edge, which is taken to be halfway.
const inImage = ({ image: { width, height, data } }: LabelledImage) =>
  bounds(width, height, (i) => data[i * 3]! > 170);
const inMap = ({ target: { width, height, labels } }: LabelledImage<LabelMap>) =>
  bounds(width, height, (i) => labels[i] === 3);

const random = (seed: number) => {
  const { uniform } = createRandom(`noise ${seed}`);
  const [width, height] = [7, 5];
  const image = {
    width,
    height,
    data: Uint8Array.from({ length: width * height * 3 }, () => uniform() * 256),
  };
  const target: LabelMap = {
    width,
    height,
    labels: Uint16Array.from({ length: width * height }, () => uniform() * 9),
  };
  return { image, target };
};

describe('flips and rotations', () => {
  it('are undone by themselves', () => {
    const sample = random(1);
    for (const axis of ['horizontal', 'vertical'] as const) {
      expect(flip(sample, axis)).not.toEqual(sample);
      expect(flip(flip(sample, axis), axis)).toEqual(sample);
    }
    expect(rotate90(rotate90(rotate90(rotate90(sample, 1), 1), 1), 1)).toEqual(sample);
    expect(rotate90(rotate90(sample, 1), 3)).toEqual(sample);
    expect(rotate90(rotate90(sample, 1), 1)).toEqual(rotate90(sample, 2));
    expect(rotate90(sample, 2)).toEqual(flip(flip(sample, 'horizontal'), 'vertical'));
  });

  it('rotate clockwise', () => {
    const { image } = rotate90(
      { image: { width: 2, height: 1, data: Uint8Array.of(1, 1, 1, 2, 2, 2) }, target: 0 },
      1,
    );
    expect(image).toEqual({ width: 1, height: 2, data: Uint8Array.of(1, 1, 1, 2, 2, 2) });
    const second = rotate90(
      { image: { width: 1, height: 2, data: Uint8Array.of(1, 1, 1, 2, 2, 2) }, target: 0 },
      1,
    );
    expect(second.image).toEqual({ width: 2, height: 1, data: Uint8Array.of(2, 2, 2, 1, 1, 1) });
  });

  it.each([1, 2, 3])('move box and mask along, %i times', (times) => {
    const { boxes, map, label } = marking(13, 9, [2, 1, 7, 4]);
    const turned = rotate90(boxes, times);
    expect(turned.target).toEqual([{ box: inImage(turned), label: 2 }]);
    expect(inMap(rotate90(map, times))).toEqual(inImage(turned));
    expect(rotate90(label, times).target).toBe(5);
    const mirrored = flip(boxes, 'horizontal');
    expect(mirrored.target).toEqual([{ box: [6, 1, 11, 4], label: 2 }]);
    expect(inImage(mirrored)).toEqual([6, 1, 11, 4]);
  });
});

describe('crop', () => {
  it('cuts boxes and masks with the image', () => {
    const { boxes, map } = marking(13, 9, [2, 1, 7, 4]);
    const window = { top: -2, left: 4, height: 6, width: 12 };
    const cut = crop(boxes, window);
    expect(cut.image).toMatchObject({ width: 12, height: 6 });
    expect(cut.target).toEqual([{ box: [0, 3, 3, 6], label: 2 }]);
    expect(inImage(cut)).toEqual([0, 3, 3, 6]);
    const cutMap = crop(map, window);
    expect(inMap(cutMap)).toEqual([0, 3, 3, 6]);
    // Two rows above the image, and three columns to its right.
    expect(cutMap.target.labels.filter((label) => label === ignoredLabel)).toHaveLength(2 * 12 + 4 * 3);
  });

  it('drops a box of which too little stays visible', () => {
    const { boxes } = marking(20, 20, [0, 0, 10, 10]);
    const half = { top: 0, left: 5, height: 20, width: 15 };
    expect(crop(boxes, half, { minVisibility: 0.5 }).target).toEqual([{ box: [0, 0, 5, 10], label: 2 }]);
    expect(crop(boxes, half, { minVisibility: 0.51 }).target).toEqual([]);
    expect(crop(boxes, { ...half, left: 10 }, { minVisibility: 0 }).target).toEqual([]);
  });
});

describe('resize', () => {
  it('moves box, mask and pixels alike', () => {
    const { boxes, map } = marking(16, 12, [4, 3, 12, 9]);
    const twice = resizeSample(boxes, [24, 32]);
    expect(twice.target).toEqual([{ box: [8, 6, 24, 18], label: 2 }]);
    expect(inImage(twice)).toEqual([8, 6, 24, 18]);
    expect(inMap(resizeSample(map, [24, 32]))).toEqual([8, 6, 24, 18]);
    expect(resizeSample(resizeSample(map, [24, 32]), [12, 16]).target).toEqual(map.target);
  });

  it('invents no class', () => {
    const { target } = random(3);
    const values = new Set(target.labels);
    const resized = resizeSample(random(3), [11, 4]).target.labels;
    expect([...resized].filter((label) => !values.has(label))).toEqual([]);
  });
});

describe('erase', () => {
  it('paints pixels, ignores labels and drops boxes that are hardly visible', () => {
    const { boxes, map } = marking(10, 10, [0, 0, 4, 4]);
    const window = { top: 0, left: 0, height: 4, width: 3 };
    expect(erase(boxes, window, { minVisibility: 0.25 }).target).toEqual(boxes.target);
    expect(erase(boxes, window, { minVisibility: 0.26 }).target).toEqual([]);
    const erased = erase(map, window);
    expect(inImage(erased)).toEqual([3, 0, 4, 4]);
    expect(inMap(erased)).toEqual([3, 0, 4, 4]);
    expect(erased.target.labels.filter((label) => label === ignoredLabel)).toHaveLength(12);
    expect(inImage(map)).toEqual([0, 0, 4, 4]);
  });
});

describe('augment', () => {
  const steps: AugmentStep[] = [
    { kind: 'rotate90' },
    { kind: 'scaledCrop', scale: [0.6, 1.6] },
    { kind: 'shift', by: 0.1 },
    { kind: 'flip', horizontal: 0.5, vertical: 0.5 },
    { kind: 'resizedCrop', area: [0.5, 1] },
  ];

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('moves box and mask with their pixels, seed %i', (seed) => {
    const { boxes, map } = marking(60, 44, [18, 14, 40, 30]);
    const changed = augment(boxes, steps, createRandom(seed), [48, 64]);
    const changedMap = augment(map, steps, createRandom(seed), [48, 64]);
    expect(changedMap.image).toEqual(changed.image);
    expect(changed.image).toMatchObject({ width: 64, height: 48 });
    const seen = inImage(changed);
    const outlined = inMap(changedMap);
    for (const [i, side] of (changed.target[0]?.box ?? []).entries()) {
      // Half a pixel of rounding for each of two resizes, one of which enlarges up to 1.6 times.
      expect(Math.abs(side - seen[i]!)).toBeLessThanOrEqual(2);
      expect(Math.abs(side - outlined[i]!)).toBeLessThanOrEqual(2);
    }
  });

  it('drops few boxes', () => {
    const { boxes } = marking(60, 44, [18, 14, 40, 30]);
    const left = Array.from(
      { length: 20 },
      (_, seed) => augment(boxes, steps, createRandom(seed), [48, 64]).target.length,
    );
    expect(left.reduce((a, b) => a + b)).toBeGreaterThan(15);
  });

  it('is the same for the same seed, and different for another', () => {
    const all: AugmentStep[] = [
      ...steps,
      { kind: 'colorJitter', brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 },
      { kind: 'erase', probability: 1 },
    ];
    const { map } = marking(60, 44, [18, 14, 40, 30]);
    const once = augment(map, all, createRandom('a'), [48, 64]);
    expect(augment(map, all, createRandom('a'), [48, 64])).toEqual(once);
    expect(augment(map, all, createRandom('b'), [48, 64])).not.toEqual(once);
  });

  it('does not change the sample itself', () => {
    const { map } = marking(20, 20, [4, 4, 9, 9]);
    const copy = structuredClone(map);
    augment(
      map,
      [{ kind: 'erase', probability: 1 }, { kind: 'colorJitter', brightness: 1 }, ...steps],
      createRandom(1),
      [16, 16],
    );
    expect(map).toEqual(copy);
  });

  it('changes nothing with steps that change nothing', () => {
    const sample = random(4);
    const none: AugmentStep[] = [
      { kind: 'flip' },
      { kind: 'shift', by: 0 },
      { kind: 'colorJitter' },
      { kind: 'erase', probability: 0 },
      { kind: 'scaledCrop', scale: [1, 1] },
      { kind: 'resizedCrop', area: [1, 1], aspect: [1.4, 1.4] },
    ];
    expect(augment(sample, none, createRandom(1), [5, 7])).toEqual(sample);
  });

  it.each<[string, unknown]>([
    ['steps of the kinds', { kind: 'rotate' }],
    ['flip.horizontal to be a number from 0 to 1', { kind: 'flip', horizontal: 2 }],
    ['flip with horizontal, vertical, got probability', { kind: 'flip', probability: 0.5 }],
    ['scaledCrop.scale to be two positive factors', { kind: 'scaledCrop' }],
    ['resizedCrop.area to be two shares', { kind: 'resizedCrop', area: [0.5, 2] }],
    ['rotate90 with no fields', { kind: 'rotate90', probability: 1 }],
  ])('refuses an invalid step: %s', (message, step) => {
    expect(() => augment(random(1), [step as AugmentStep], createRandom(1), [5, 7])).toThrow(message);
  });
});
