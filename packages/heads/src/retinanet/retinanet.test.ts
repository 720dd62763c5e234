import * as tf from '@tensorflow/tfjs-core';
import {
  ConfigError,
  createRandom,
  PvtError,
  randomInit,
  ShapeError,
  type FeatureMap,
  type Box,
} from '@pvt/core';
import { expectClose, expectGradient, expectNoLeak, useBackend, useGradients } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import coder from './fixtures/box_coder_matcher.json';
import lossFixture from './fixtures/losses.json';
import nms from './fixtures/nms.json';
import { clipBox, decodeBox, encodeBox, boxIou, type BoxDeltas } from './boxes.ts';
import { detect } from './detect.ts';
import { decodeBoxes, focalLoss, giouLoss, retinaNetLoss, smoothL1Loss } from './losses.ts';
import { matchAnchors } from './match.ts';
import { createRetinaNet, type RetinaNetLevel } from './retinanet.ts';
import { mmdetRules, torchvisionRules } from './rules.ts';
import { nonMaxSuppression } from './nms.ts';
import { topKIndices } from '../topK.ts';

const boxes = (rows: readonly (readonly number[])[]) => rows as unknown as Box[];

describe('boxes, against torchvision', () => {
  const [plain] = coder.cases;

  it('encodes', () =>
    expectClose(
      boxes(coder.gt).flatMap((box, i) => encodeBox(boxes(coder.anchors)[i]!, box)),
      plain!.encode_gt_vs_anchors.flat(),
      1e-5,
    ));

  it('decodes, growth limited and shrinking not', () =>
    // Of coordinates up to a thousand, stored in float32.
    expectClose(
      boxes(coder.anchors).flatMap((anchor, i) =>
        decodeBox(anchor, coder.deltas[i] as unknown as BoxDeltas, false),
      ),
      plain!.decode_deltas_on_anchors.flat(),
      1e-4,
    ));

  it('matches anchors by each rule', () => {
    for (const { high, low, allow_low_quality_matches, matched } of coder.matcher.cases) {
      const found = matchAnchors(boxes(coder.matcher.boxes), boxes(coder.matcher.gt), {
        positiveIou: high,
        negativeIou: low,
        lowQualityMatches: allow_low_quality_matches ? 'own' : 'none',
      });
      expect([...found]).toEqual(matched);
    }
  });

  it('measures intersection over union', () => {
    for (const [i, row] of nms.box_iou_first5x5.entries()) {
      for (const [j, value] of row.entries())
        expect(boxIou(boxes(nms.boxes)[i]!, boxes(nms.boxes)[j]!)).toBeCloseTo(value, 6);
    }
  });

  it.each(Object.entries(nms.results_by_iou_threshold))(
    'suppresses above %s',
    (threshold, { nms_keep, batched_nms_keep }) => {
      const all = nms.scores.map((score, i) => ({
        box: boxes(nms.boxes)[i]!,
        score,
        label: nms.idxs[i]!,
        i,
      }));
      expect(nonMaxSuppression(all, Number(threshold)).map(({ i }) => i)).toEqual(batched_nms_keep);
      expect(
        nonMaxSuppression(
          all.map((one) => ({ ...one, label: 0 })),
          Number(threshold),
        ).map(({ i }) => i),
      ).toEqual(nms_keep);
      expect(nonMaxSuppression(all, Number(threshold), 7).map(({ i }) => i)).toEqual(
        batched_nms_keep.slice(0, 7),
      );
    },
  );
});

describe('boxes', () => {
  beforeAll(() => useBackend('cpu'));

  it('are clipped to their image', () => {
    expect(clipBox([-5, 3, 500, 99], [50, 100])).toEqual([0, 3, 100, 50]);
    expect(clipBox([200, 60, 300, 70], [50, 100])).toEqual([100, 50, 100, 50]);
  });

  it('without area have no IoU, and both stay', () => {
    const flat = { box: [5, 5, 5, 9] as const, score: 0.5, label: 0 };
    expect(nonMaxSuppression([flat, { ...flat, score: 0.4 }], 0.5)).toHaveLength(2);
  });

  it('of an anchor that is the best of two objects go by the rule', () => {
    // The only anchor is the best of both objects, and has a larger IoU with the first.
    const objects = boxes([
      [0, 0, 10, 9],
      [0, 0, 10, 3],
    ]);
    expect([...matchAnchors(boxes([[0, 0, 10, 10]]), objects, { lowQualityMatches: 'own' })]).toEqual([0]);
    expect([...matchAnchors(boxes([[0, 0, 10, 10]]), objects, { lowQualityMatches: 'claimed' })]).toEqual([
      1,
    ]);
    expect([...matchAnchors(boxes([[0, 0, 10, 10]]), boxes([[90, 90, 99, 99]]))]).toEqual([-1]);
  });

  it('decode as tensors as they do one by one', async () => {
    for (const limit of [true, false]) {
      const tensors = decodeBoxes(tf.tensor2d(coder.anchors), tf.tensor2d(coder.deltas), limit);
      await expectClose(
        tensors,
        boxes(coder.anchors).flatMap((anchor, i) =>
          decodeBox(anchor, coder.deltas[i] as unknown as BoxDeltas, limit),
        ),
        1e-3,
      );
    }
  });
});

it('largest() is a sort and a cut', () => {
  const random = createRandom(3);
  const values = Float32Array.from({ length: 500 }, () => Math.round(random.normal() * 20));
  for (const count of [0, 1, 7, 100, 900]) {
    const sorted = [...values.keys()]
      .filter((i) => values[i]! > -10)
      .sort((a, b) => values[b]! - values[a]! || a - b);
    expect(topKIndices(values, count, -10)).toEqual(sorted.slice(0, count));
  }
});

describe.each(['cpu', 'wasm'] as const)('losses on %s, against torchvision', (backend) => {
  beforeAll(async () => {
    await useGradients();
    await useBackend(backend);
  });

  it('focal', async () => {
    const { logits, targets, cases } = lossFixture.sigmoid_focal_loss;
    for (const { alpha, gamma, loss, grad_of_sum } of cases) {
      const of = (x: tf.Tensor) => focalLoss(x, tf.tensor1d(targets) as tf.Tensor, { alpha, gamma });
      const scale = Math.max(...loss);
      await expectClose(of(tf.tensor1d(logits)), loss, 1e-6 * scale);
      await expectClose(tf.grad(of)(tf.tensor1d(logits)), grad_of_sum, 2e-6);
    }
  });

  it('smooth L1', async () => {
    const { input, target, cases } = lossFixture.smooth_l1;
    for (const { beta, loss, grad_of_sum } of cases) {
      const of = (x: tf.Tensor) => smoothL1Loss(tf.sub(x, target), beta);
      await expectClose(of(tf.tensor1d(input)), loss, 2e-6);
      // At the kink of L1 any gradient in [-1, 1] is valid: PyTorch takes 0 in `l1_loss`, as we do, and -1 in
      // `smooth_l1_loss`.
      const gradients = grad_of_sum.map((gradient, i) =>
        beta === 0 && input[i] === target[i] ? 0 : gradient,
      );
      await expectClose(tf.grad(of)(tf.tensor1d(input)), gradients, 2e-6);
    }
  });

  it('generalized IoU', async () => {
    const { boxes1, boxes2, loss, grad_of_sum_wrt_boxes1, values_only } =
      lossFixture.generalized_box_iou_loss;
    const of = (x: tf.Tensor) => giouLoss(x, tf.tensor2d(boxes2));
    await expectClose(of(tf.tensor2d(boxes1)), loss, 2e-6);
    await expectClose(tf.grad(of)(tf.tensor2d(boxes1)), grad_of_sum_wrt_boxes1.flat(), 2e-6);
    for (const { boxes1: a, boxes2: b, loss } of values_only)
      await expectClose(giouLoss(tf.tensor2d([a]), tf.tensor2d([b])), [loss], 1e-6);
  });
});

describe('createRetinaNet', () => {
  beforeAll(() => useBackend('wasm'));

  const features = [8, 16].map((stride) => ({ name: `p${stride}`, stride, channels: 6 }));
  const pyramidFor = (height: number, width: number, batch = 1, channels = 6): FeatureMap[] =>
    features.map((feature) => ({
      ...feature,
      tensor: tf.randomNormal(
        [batch, Math.ceil(height / feature.stride), Math.ceil(width / feature.stride), channels],
        0,
        1,
        'float32',
        5,
      ),
    }));
  const release = (value: unknown) => tf.dispose(value as tf.TensorContainer);

  it('starts from rare objects and small moves', async () => {
    const head = createRetinaNet({ features, classes: 3 }, randomInit(1));
    const levels = head.forward(pyramidFor(40, 56, 2));
    expect(
      levels.map(({ stride, grid, logits, deltas }) => [stride, grid, logits.shape, deltas.shape]),
    ).toEqual([
      [8, [5, 7], [2, 315, 3], [2, 315, 4]],
      [16, [3, 4], [2, 108, 3], [2, 108, 4]],
    ]);
    // Foreground probability 0.01, as the paper starts it.
    const mean = tf.mean(tf.sigmoid(levels[0]!.logits));
    expect((await mean.data())[0]).toBeCloseTo(0.01, 3);
    expect(await detect(levels, { input: [40, 56] })).toEqual([[], []]);
    head.dispose();
  });

  it.each([
    ['features-invalid', () => createRetinaNet({ features: [], classes: 3 }, randomInit(1))],
    [
      'features-invalid',
      () => createRetinaNet({ features: [...features].reverse(), classes: 3 }, randomInit(1)),
    ],
    [
      'features-invalid',
      () =>
        createRetinaNet(
          { features: [features[0]!, { ...features[1]!, channels: 7 }], classes: 3 },
          randomInit(1),
        ),
    ],
    ['classes-invalid', () => createRetinaNet({ features, classes: 0 }, randomInit(1))],
    ['depth-invalid', () => createRetinaNet({ features, classes: 1, depth: -1 }, randomInit(1))],
  ])('refuses with %s before a tensor exists', async (code, build) => {
    await expectNoLeak(() => {
      expect(build).toThrow(expect.objectContaining({ code, constructor: ConfigError }));
    });
  });

  it('refuses a pyramid of another width or stride', () => {
    const head = createRetinaNet({ features, classes: 3 }, randomInit(1));
    expect(() => head.forward(pyramidFor(40, 56, 1, 7))).toThrow(
      expect.objectContaining({ code: 'pyramid-misfit', constructor: ShapeError }),
    );
    expect(() => head.forward(pyramidFor(40, 56).map((map) => ({ ...map, stride: map.stride * 2 })))).toThrow(
      expect.objectContaining({ code: 'pyramid-misfit' }),
    );
    head.dispose();
    expect(() => head.forward(pyramidFor(40, 56))).toThrow(expect.objectContaining({ code: 'disposed' }));
  });

  /**
   * One level on a 2x2 map where anchor 0 of the first cell is class 1 for sure, and nothing else is
   * anything.
   */
  const certain = (deltas: readonly number[], logit = 9): RetinaNetLevel => ({
    stride: 8,
    grid: [2, 2],
    logits: tf.tensor3d(
      Float32Array.from({ length: 36 * 2 }, (_, i) => (i === 1 ? logit : -9)),
      [1, 36, 2],
    ),
    deltas: tf.tensor3d(
      Float32Array.from({ length: 36 * 4 }, (_, i) => (i < 4 ? deltas[i]! : 0)),
      [1, 36, 4],
    ),
  });

  it('puts boxes into the image’s own pixels, and cuts them at its border', async () => {
    // The first anchor: 32 pixels of area at ratio 0.5 about the origin; moved by half its width and height.
    const [width, height] = [32 * Math.SQRT2, 32 / Math.SQRT2];
    const [found] = (
      await detect([certain([0.5, 0.5, 0, 0])], {
        input: [16, 16],
        images: [{ contentSize: [12, 16], originalSize: [24, 64] }],
      })
    ).flat();
    expect(found!.label).toBe(1);
    await expectClose(found!.box, [0, 0, Math.min(width, 16) * 4, Math.min(height, 12) * 2], 1e-5);
  });

  it.each([
    ['mmdetection', mmdetRules],
    ['torchvision', torchvisionRules],
  ] as const)('answers what a user expects, by the rules of %s', async (_, rules) => {
    const options = { rules, input: [16, 16] as const };
    expect(await detect([certain([0, 0, 0, 0], -8)], options)).toEqual([[]]);
    expect((await detect([certain([50, 50, 0, 0])], options))[0]![0]!.box).toEqual([16, 16, 16, 16]);
    await expect(detect([certain([0, 0, 0, 0], NaN)], options)).rejects.toThrow(
      expect.objectContaining({ code: 'scores-nan', constructor: PvtError }),
    );
    await expect(detect([certain([NaN, 0, 0, 0])], options)).rejects.toThrow(
      expect.objectContaining({ code: 'scores-nan' }),
    );
    await expect(detect([certain([0, 0, 0, 0])], { ...options, images: [] })).rejects.toThrow(
      expect.objectContaining({ code: 'images-misfit' }),
    );
    await expect(
      detect([certain([0, 0, 0, 0])], { ...options, rules: { ...rules, scoreThreshold: 2 } }),
    ).rejects.toThrow(expect.objectContaining({ code: 'threshold-invalid' }));
  });

  it('leaves no tensor behind over 1,000 detections', async () => {
    const head = createRetinaNet({ features, classes: 2, depth: 1 }, randomInit(1));
    const pyramid = pyramidFor(16, 16);
    await expectNoLeak(async () => {
      for (let i = 0; i < 1000; i++) {
        const levels = head.forward(pyramid);
        await detect(levels, { input: [16, 16], rules: { ...mmdetRules, scoreThreshold: 0.005 } });
        release(levels);
      }
    });
    head.dispose();
  });

  describe('retinaNetLoss', () => {
    beforeAll(useGradients);

    it('divides by the matches of an image or of the batch', async () => {
      const level: RetinaNetLevel = {
        stride: 8,
        grid: [2, 2],
        logits: tf.zeros([2, 36, 2]),
        deltas: tf.zeros([2, 36, 4]),
      };
      const objects = [[{ box: [0, 0, 30, 30] as const, label: 1 }], []];
      // A logit of 0 costs ln 2 / 4 by its weight: 0.25 for the class, 0.75 for the rest.
      const unit = (positives: number, all: number) =>
        (Math.LN2 / 4) * (0.25 * positives + 0.75 * (2 * all - positives));
      const matches = matchAnchors(
        Array.from({ length: 36 }, (_, i) => anchor(i)),
        [[0, 0, 30, 30]],
        { lowQualityMatches: 'claimed' },
      );
      const positives = matches.filter((match) => match >= 0).length;
      const counted = matches.filter((match) => match !== -2).length;
      const { classification } = retinaNetLoss([level], objects, { input: [16, 16] });
      await expectClose(classification, [(unit(positives, counted) + unit(0, 36)) / (positives + 1)], 1e-4);
      const perImage = retinaNetLoss([level], objects, {
        input: [16, 16],
        rules: { ...mmdetRules, normalizer: 'image' },
      });
      await expectClose(
        perImage.classification,
        [(unit(positives, counted) / positives + unit(0, 36)) / 2],
        1e-4,
      );
    });

    it('has the gradient of its values', async () => {
      const objects = [[{ box: [0, 0, 30, 30] as const, label: 1 }]];
      for (const regression of ['l1', { smoothL1: 0.11 }, 'giou'] as const) {
        const loss = (logits: tf.Tensor, deltas: tf.Tensor) => {
          const parts = retinaNetLoss(
            [{ stride: 8, grid: [2, 2], logits: logits as tf.Tensor3D, deltas: deltas as tf.Tensor3D }],
            objects,
            { input: [16, 16], regression },
          );
          return tf.add(parts.classification, parts.regression);
        };
        await expectGradient(
          loss,
          [
            tf.randomNormal([1, 36, 2], 0, 1, 'float32', 1),
            tf.randomNormal([1, 36, 4], 0, 0.3, 'float32', 2),
          ],
          1e-3,
        );
      }
    });

    it.each([
      ['objects-misfit', [[]]],
      ['label-invalid', [[{ box: [0, 0, 9, 9], label: 2 }], []]],
      ['box-invalid', [[{ box: [9, 0, 9, 9], label: 1 }], []]],
    ] as const)('says %s', (code, objects) => {
      const level: RetinaNetLevel = {
        stride: 8,
        grid: [2, 2],
        logits: tf.zeros([2, 36, 2]),
        deltas: tf.zeros([2, 36, 4]),
      };
      expect(() => retinaNetLoss([level], objects, { input: [16, 16] })).toThrow(
        expect.objectContaining({ code }),
      );
    });
  });
});

/** mmdetection's anchors of a 2x2 map at stride 8, from their definition. */
function anchor(index: number): Box {
  const size = 32 * 2 ** ((index % 3) / 3);
  const ratio = [0.5, 1, 2][Math.floor(index / 3) % 3]!;
  const [x, y] = [8 * (Math.floor(index / 9) % 2), 8 * Math.floor(index / 18)];
  const [w, h] = [size / Math.sqrt(ratio) / 2, (size * Math.sqrt(ratio)) / 2];
  return [x - w, y - h, x + w, y + h];
}
