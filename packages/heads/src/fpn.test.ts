import * as tf from '@tensorflow/tfjs-core';
import { randomInit, type FeatureMap } from '@pvt/core';
import { expectGradient, expectNoLeak, useBackend, useGradients } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { createFpn, extraLevels } from './fpn.ts';

const channels = [4, 6, 8];
const features = channels.map((width, i) => ({ name: `stage${i + 1}`, stride: 4 * 2 ** i, channels: width }));
const pyramidFor = (height: number, width: number): FeatureMap[] =>
  features.map((feature) => ({
    ...feature,
    tensor: tf.randomNormal(
      [2, Math.ceil(height / feature.stride), Math.ceil(width / feature.stride), feature.channels],
      0,
      1,
      'float32',
      5,
    ),
  }));

// The numbers are compared with torchvision's and mmdetection's in tooling/golden.
describe('createFpn', () => {
  beforeAll(async () => {
    await useGradients();
    await useBackend('cpu');
  });

  it.each(
    extraLevels.flatMap(
      (extra) =>
        [
          [extra, 0],
          [extra, 1],
        ] as const,
    ),
  )('has the strides and widths that it states: %s from level %i, odd sizes', async (extra, startLevel) => {
    await expectNoLeak(() => {
      const fpn = createFpn(
        { features, channels: 5, startLevel, outputs: 5, extra, reluBeforeExtra: true },
        randomInit(1),
      );
      const pyramid = pyramidFor(75, 93);
      const levels = fpn.forward(pyramid);
      expect(fpn.features.map(({ stride }) => stride)).toEqual(
        [0, 1, 2, 3, 4].map((i) => 4 * 2 ** (i + startLevel)),
      );
      expect(levels.map(({ tensor }) => tensor.shape)).toEqual(
        fpn.features.map(({ stride }) => [2, Math.ceil(75 / stride), Math.ceil(93 / stride), 5]),
      );
      expect(levels.map(({ name }) => name)[0]).toBe(startLevel === 0 ? 'p2' : 'p3');
      tf.dispose([...levels, ...pyramid].map(({ tensor }) => tensor));
      fpn.dispose();
    });
  });

  it('selects its inputs from any pyramid that has them', () => {
    const fpn = createFpn({ features: features.slice(1), channels: 5 }, randomInit(1));
    expect(fpn.forward([...pyramidFor(64, 64)].reverse()).map(({ stride }) => stride)).toEqual([8, 16]);
    expect(fpn.inputs).toEqual(features.slice(1));
  });

  it.each(extraLevels)('passes gradients to every level: %s', (extra) => {
    const fpn = createFpn({ features, channels: 3, outputs: 5, extra, reluBeforeExtra: true }, randomInit(1));
    const maps = pyramidFor(24, 20);
    return expectGradient(
      (...tensors) =>
        tf.concat(
          fpn
            .forward(tensors.map((tensor, i) => ({ ...maps[i]!, tensor: tensor as tf.Tensor4D })))
            .map(({ tensor }) => tf.reshape(tensor, [-1])),
          0,
        ),
      maps.map(({ tensor }) => tensor),
    );
  });

  it.each([
    ['features-invalid', { features: [], channels: 5 }],
    ['features-invalid', { features: [features[1]!, features[0]!], channels: 5 }],
    ['features-invalid', { features: [{ ...features[0]!, channels: 0 }], channels: 5 }],
    ['fpn-invalid', { features, channels: 0 }],
    ['fpn-invalid', { features, channels: 5, startLevel: 3 }],
    ['fpn-invalid', { features, channels: 5, outputs: 2 }],
    ['fpn-invalid', { features, channels: 5, outputs: 4, extra: 'p5' as never }],
  ])('refuses with %s before a tensor exists', async (code, config) => {
    await expectNoLeak(() => {
      expect(() => createFpn(config, randomInit(1))).toThrow(expect.objectContaining({ code }));
    });
  });

  it('refuses a pyramid of another width or stride', () => {
    const fpn = createFpn({ features, channels: 5 }, randomInit(1));
    const pyramid = pyramidFor(64, 64);
    for (const other of [
      pyramid.slice(1),
      pyramid.map((map) => ({ ...map, stride: map.stride * 2 })),
      pyramid.map((map) => ({ ...map, tensor: tf.zeros([1, 4, 4, 7]) as tf.Tensor4D })),
    ]) {
      expect(() => fpn.forward(other)).toThrow(expect.objectContaining({ code: 'pyramid-misfit' }));
    }
  });
});
