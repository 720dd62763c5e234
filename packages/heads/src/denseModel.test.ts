import * as tf from '@tensorflow/tfjs-core';
import { createPvt, createRandom, DisposedError, pvtConfig, randomInit, type FeatureMap } from '@pvt/core';
import { expectClose, expectNoLeak, useBackend } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { createDenseModel } from './denseModel.ts';
import { createFpn } from './fpn.ts';
import { createRetinaNet } from './retinanet/retinanet.ts';
import { createUnet } from './segmentation/unet.ts';

const config = pvtConfig({
  version: 'v2',
  dims: [4, 8],
  depths: [1, 1],
  heads: [1, 2],
  mlpRatios: [2, 2],
  reductions: [2, 1],
  patchSizes: [7, 3],
  strides: [4, 2],
});

const detectorParts = () => {
  const backbone = createPvt(config, randomInit(1));
  const neck = createFpn({ features: backbone.features, channels: 4, outputs: 3 }, randomInit(2));
  const head = createRetinaNet({ features: neck.features, classes: 2, depth: 1 }, randomInit(3));
  return { backbone, neck, head };
};

describe('createDenseModel', () => {
  beforeAll(() => useBackend('cpu'));

  it('computes what its parts compute one after the other, leaves nothing behind and frees all parts', async () => {
    await expectNoLeak(async () => {
      const model = createDenseModel(detectorParts());
      const { backbone, neck, head } = model.parts;
      expect(model.features).toEqual(neck.features);
      const input = tf.randomNormal<tf.Rank.R4>([1, 33, 47, 3], 0, 1, 'float32', 1);

      const before = tf.memory().numTensors;
      const levels = model.forward(input);
      expect(tf.memory().numTensors - before).toBe(2 * levels.length);
      const expected = tf.tidy(() => {
        const parts = head.forward(neck.forward(backbone.forward(input).pyramid));
        return parts.flatMap(({ logits, deltas }) => [logits, deltas]);
      });
      const actual = levels.flatMap(({ logits, deltas }) => [logits, deltas]);
      for (const [i, tensor] of actual.entries()) await expectClose(tensor, expected[i]!.dataSync(), 0);

      tf.dispose([...actual, ...expected]);
      model.dispose();
      model.dispose();
      expect([model, backbone, neck, head].every(({ disposed }) => disposed)).toBe(true);
      expect(() => model.forward(input)).toThrow(DisposedError);
      input.dispose();
    });
  });

  it('gives the context to all of its parts, and needs no neck', async () => {
    await expectNoLeak(async () => {
      const backbone = createPvt({ ...config, dropPath: 0.5 }, randomInit(1));
      const head = createUnet({ features: backbone.features, classes: 2, dropout: 0.5 }, randomInit(2));
      const model = createDenseModel({ backbone, head });
      expect(model.features).toEqual(backbone.features);
      const input = tf.randomNormal<tf.Rank.R4>([2, 32, 32, 3], 0, 1, 'float32', 1);

      const logits = model.forward(input, { training: true, random: createRandom(7) });
      const random = createRandom(7);
      const context = { training: true, random } as const;
      const expected = tf.tidy(() => head.forward(backbone.forward(input, context).pyramid, context));
      await expectClose(logits, expected.dataSync(), 0);
      tf.dispose([logits, expected, input]);
      model.dispose();
    });
  });

  it('takes a backbone of somebody else', () => {
    const features = [{ name: 'c2', stride: 4, channels: 3 }];
    const backbone = {
      features,
      forward: (input: tf.Tensor4D): { pyramid: FeatureMap[] } => ({
        pyramid: [{ ...features[0]!, tensor: tf.avgPool(input, 4, 4, 'valid') }],
      }),
      dispose() {},
    };
    const model = createDenseModel({ backbone, head: createUnet({ features, classes: 5 }, randomInit(1)) });
    expect(tf.tidy(() => model.forward(tf.zeros([1, 16, 24, 3])).shape)).toEqual([1, 4, 6, 5]);
    model.dispose();
  });
});
