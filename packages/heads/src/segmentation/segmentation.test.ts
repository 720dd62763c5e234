import * as tf from '@tensorflow/tfjs-core';
import { createRandom, randomInit, resample, type FeatureMap, type LabelMap } from '@pvt/core';
import { expectClose, expectGradient, expectNoLeak, useBackend, useGradients } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { scoreSegmentation } from '../evaluation/segmentation.ts';
import { classColor } from './colors.ts';
import { labelMaps } from './labels.ts';
import { createLinearSegmentation } from './linear.ts';
import { segmentationLoss } from './losses.ts';
import { rleFromString, rleToString, rleToMask, maskToPolygons, maskToRle } from './masks.ts';
import { createSegFormer } from './segFormer.ts';
import { createSemanticFpn } from './semanticFpn.ts';
import { createUnet } from './unet.ts';
import { createUperNet } from './uperNet.ts';

const features = [4, 6, 8].map((channels, i) => ({ name: `stage${i + 1}`, stride: 4 * 2 ** i, channels }));
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
const map = (rows: readonly (readonly number[])[]): LabelMap => ({
  width: rows[0]!.length,
  height: rows.length,
  labels: Uint16Array.from(rows.flat()),
});
const release = (pyramid: readonly FeatureMap[]) => tf.dispose(pyramid.map(({ tensor }) => tensor));

const heads = {
  linear: createLinearSegmentation,
  'semantic FPN': createSemanticFpn,
  UPerNet: createUperNet,
  'U-Net': createUnet,
  SegFormer: createSegFormer,
};

// The numbers are compared with mmsegmentation's and PyTorch's in tooling/golden.
describe.each(Object.entries(heads))('%s', (name, create) => {
  const config = { features, classes: 3, channels: 5 };
  beforeAll(async () => {
    await useGradients();
    await useBackend('cpu');
  });

  it('returns logits at the finest stride of its inputs, and leaves nothing behind', async () => {
    await expectNoLeak(() => {
      const head = create(config, randomInit(1));
      const pyramid = pyramidFor(37, 50);
      const { stride } = head.inputs[0]!;
      const logits = head.forward(pyramid);
      const noisy = head.forward(pyramid, { training: true, random: createRandom(1) });
      expect(logits.shape).toEqual([2, Math.ceil(37 / stride), Math.ceil(50 / stride), 3]);
      expect(noisy.shape).toEqual(logits.shape);
      tf.dispose([logits, noisy]);
      release(pyramid);
      head.dispose();
    });
  });

  it('passes gradients to its inputs', async () => {
    const head = create(config, randomInit(1));
    const maps = head.inputs.map((feature, i) => ({
      ...feature,
      tensor: tf.randomNormal([1, 6 - i, 7 - 2 * i, feature.channels], 0, 1, 'float32', 2) as tf.Tensor4D,
    }));
    // A BatchNorm and a ReLU away, differences cross a kink now and then: a small step crosses few.
    await expectGradient(
      (...tensors) =>
        head.forward(tensors.map((tensor, i) => ({ ...maps[i]!, tensor: tensor as tf.Tensor4D }))),
      maps.map(({ tensor }) => tensor),
      1e-3,
    );
  });

  it.each([
    ['features-invalid', { features: [] }],
    ['features-invalid', { features: [features[0]!, features[0]!] }],
    ['classes-invalid', { classes: 0 }],
    ['channels-invalid', { channels: 0.5 }],
    ['dropout-invalid', { dropout: 1 }],
    ...(name === 'semantic FPN'
      ? ([['strides-invalid', { features: [features[0]!, { ...features[1]!, stride: 12 }] }]] as const)
      : []),
  ] as const)('refuses with %s before a tensor exists', async (code, wrong) => {
    await expectNoLeak(() => {
      expect(() => create({ ...config, ...wrong }, randomInit(1))).toThrow(expect.objectContaining({ code }));
    });
  });

  it('refuses a pyramid of another width or stride', () => {
    const head = create(config, randomInit(1));
    const pyramid = pyramidFor(32, 32);
    expect(() => head.forward([])).toThrow(expect.objectContaining({ code: 'pyramid-misfit' }));
    expect(() =>
      head.forward(pyramid.map((level) => ({ ...level, stride: level.stride * 2 })).slice(0, 1)),
    ).toThrow(expect.objectContaining({ code: 'pyramid-misfit' }));
    expect(() =>
      head.forward(pyramid.map((level) => ({ ...level, tensor: tf.zeros([1, 4, 4, 9]) as tf.Tensor4D }))),
    ).toThrow(expect.objectContaining({ code: 'pyramid-misfit' }));
  });
});

describe('labelMaps', () => {
  beforeAll(() => useBackend('wasm'));

  it.each([
    [[[23, 31]]],
    [
      [
        [6, 9],
        [40, 17],
      ],
    ],
    [[[3, 2]]],
  ] as const)('is the best class of the logits resampled through %j', async (sizes) => {
    const logits = tf.randomNormal([2, 7, 5, 4], 0, 1, 'float32', 9) as tf.Tensor4D;
    const full = sizes.reduce<tf.Tensor4D>(
      (t, size) => resample(t, size as unknown as [number, number], 'bilinear'),
      logits,
    );
    const expected = await tf.argMax(full, -1).data();
    const best = await tf.max(tf.softmax(full), -1).data();
    const maps = await labelMaps(logits, sizes as unknown as [number, number][], { scores: true });
    expect(maps.flatMap(({ labels }) => [...labels])).toEqual([...expected]);
    await expectClose(
      maps.flatMap(({ scores }) => [...scores!]),
      best,
      2e-6,
    );
  });

  it('leaves out the padding of the input, at the first size', async () => {
    const logits = tf.randomNormal([1, 7, 5, 4], 0, 1, 'float32', 9) as tf.Tensor4D;
    const input = resample(logits, [28, 20], 'bilinear');
    const content = tf.slice(input, [0, 0, 0, 0], [1, 21, 20, 4]);
    const expected = await tf.argMax(resample(content, [40, 37], 'bilinear'), -1).data();
    const sizes = [
      [28, 20],
      [40, 37],
    ] as const;
    const [map] = await labelMaps(logits, sizes, { contentSize: [21, 20] });
    expect([...map!.labels]).toEqual([...expected]);
    const [whole] = await labelMaps(logits, sizes);
    expect(await labelMaps(logits, sizes, { contentSize: [28, 20] })).toEqual([whole]);
    expect(map!.labels).not.toEqual(whole!.labels);
  });

  it('has the size of the logits by default, and rejects invalid sizes and NaN', async () => {
    expect(await labelMaps(tf.tensor4d([1, 0, 0, 2], [1, 1, 2, 2]))).toEqual([
      { width: 2, height: 1, labels: Uint16Array.of(0, 1) },
    ]);
    await expect(labelMaps(tf.zeros([1, 2, 2, 2]), [[0, 5]])).rejects.toThrow(
      expect.objectContaining({ code: 'size-invalid' }),
    );
    await expect(labelMaps(tf.fill([1, 2, 2, 2], NaN) as tf.Tensor4D)).rejects.toThrow(
      expect.objectContaining({ code: 'scores-nan' }),
    );
  });
});

describe('segmentationLoss', () => {
  beforeAll(async () => {
    await useGradients();
    await useBackend('wasm');
  });

  it('is the mean over the pixels that count', async () => {
    const logits = tf.tensor4d([Math.log(3), 0, 0, 0], [1, 1, 2, 2]);
    await expectClose(segmentationLoss(logits, [map([[0, 255]])]), [Math.log(4 / 3)], 1e-6);
    await expectClose(segmentationLoss(logits, [map([[1, 0]])]), [(Math.log(4) + Math.log(2)) / 2], 1e-6);
    await expectClose(segmentationLoss(logits, [map([[255, 255]])]), [0], 0);
  });

  it('has the gradient of its values, through the upsampling', () =>
    expectGradient(
      (x) =>
        segmentationLoss(x as tf.Tensor4D, [
          map([
            [0, 1, 2, 255, 1],
            [2, 2, 1, 0, 0],
            [1, 0, 255, 2, 1],
          ]),
        ]),
      [tf.randomNormal([1, 2, 3, 3], 0, 1, 'float32', 4)],
    ));

  it.each([
    ['labels-misfit', []],
    ['labels-misfit', [map([[0]]), map([[0]])]],
    ['label-invalid', [map([[7]])]],
  ])('says %s', (code, labels) =>
    expect(() => segmentationLoss(tf.zeros([1, 1, 1, 2]), labels)).toThrow(expect.objectContaining({ code })),
  );
});

describe('scoreSegmentation', () => {
  it('counts intersections and unions over all images', () => {
    const { meanIoU, accuracy, iou } = scoreSegmentation(
      [
        { prediction: map([[0, 0, 1]]), target: map([[0, 1, 1]]) },
        { prediction: map([[1, 2, 0]]), target: map([[1, 1, 255]]) },
      ],
      4,
    );
    expect(iou).toEqual([1 / 2, 2 / 4, 0, NaN]);
    expect(meanIoU).toBeCloseTo(1 / 3, 12);
    expect(accuracy).toBe(3 / 5);
  });

  it.each([
    ['labels-misfit', map([[0]]), map([[0, 0]])],
    ['label-invalid', map([[4]]), map([[0]])],
  ])('says %s', (code, prediction, target) =>
    expect(() => scoreSegmentation([{ prediction, target }], 4)).toThrow(expect.objectContaining({ code })),
  );
});

describe('regions', () => {
  const random = createRandom(5);
  const noisy = (): LabelMap => {
    const [width, height] = [1 + Math.floor(random.uniform() * 12), 1 + Math.floor(random.uniform() * 12)];
    return {
      width,
      height,
      labels: Uint16Array.from({ length: width * height }, () => (random.uniform() < 0.5 ? 1 : 0)),
    };
  };

  it('are the runs that pycocotools writes', () => {
    // From the COCO API's own documentation of its mask format.
    const counts = [6, 1, 40, 4, 5, 4, 5, 4, 21];
    expect(rleToString(counts)).toBe('61X13mN000`0');
    expect(rleFromString('61X13mN000`0')).toEqual(counts);
    expect(maskToRle(rleToMask({ size: [9, 10], counts }), 1)).toEqual({ size: [9, 10], counts });
  });

  it('survive every form', () => {
    for (let i = 0; i < 200; i++) {
      const region = noisy();
      const runs = maskToRle(region, 1);
      expect(rleToMask({ ...runs, counts: rleFromString(rleToString(runs.counts)) })).toEqual(region);
    }
    expect(rleFromString(rleToString([0, 1e6, 3, 8e6, 70000]))).toEqual([0, 1e6, 3, 8e6, 70000]);
  });

  it('have outlines that enclose as many pixels as they have, and cross no pixel', () => {
    for (let i = 0; i < 200; i++) {
      const region = noisy();
      let twice = 0;
      for (const outline of maskToPolygons(region, 1)) {
        for (let p = 0; p < outline.length; p += 2) {
          const [x, y, nextX, nextY] = [
            outline[p]!,
            outline[p + 1]!,
            outline[(p + 2) % outline.length]!,
            outline[(p + 3) % outline.length]!,
          ];
          twice += x * nextY - nextX * y;
          expect((x === nextX) !== (y === nextY)).toBe(true);
        }
      }
      expect(twice / 2).toBe(region.labels.reduce((sum, label) => sum + label, 0));
    }
  });

  it('turn round holes the other way, and part at corners', () => {
    expect(
      maskToPolygons(
        map([
          [1, 1, 1],
          [1, 0, 1],
          [1, 1, 1],
        ]),
        1,
      ),
    ).toEqual([
      [0, 0, 3, 0, 3, 3, 0, 3],
      [1, 1, 1, 2, 2, 2, 2, 1],
    ]);
    expect(
      maskToPolygons(
        map([
          [1, 0],
          [0, 1],
        ]),
        1,
      ),
    ).toEqual([
      [0, 0, 1, 0, 1, 1, 0, 1],
      [1, 1, 2, 1, 2, 2, 1, 2],
    ]);
    expect(maskToPolygons(map([[0, 0]]), 1)).toEqual([]);
  });

  it('refuse broken runs', () => {
    expect(() => rleToMask({ size: [2, 2], counts: [1, 2] })).toThrow(
      expect.objectContaining({ code: 'runs-misfit' }),
    );
    expect(() => rleFromString('6\n')).toThrow(expect.objectContaining({ code: 'runs-invalid' }));
    expect(() => rleFromString('X')).toThrow(expect.objectContaining({ code: 'runs-invalid' }));
  });
});

it('gives a hundred classes distinct colors', () => {
  const colors = Array.from({ length: 100 }, (_, i) => classColor(i));
  for (const [i, a] of colors.entries()) {
    for (const b of colors.slice(i + 1))
      expect(Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2])).toBeGreaterThan(15);
  }
});
