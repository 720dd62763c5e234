import { readFile } from 'node:fs/promises';
import { preprocess } from '@pvt/adapter-image';
import { checkpoints } from '@pvt/checkpoints';
import {
  createPvt,
  leavesOf,
  pvtConfig,
  pvtSpec,
  randomInit,
  type ParamSource,
  type Image,
  type PvtConfig,
  type Spec,
} from '@pvt/core';
import {
  createFpn,
  createRetinaNet,
  createSegFormer,
  createSemanticFpn,
  createUnet,
  createUperNet,
  createLinearSegmentation,
  fpnSpec,
  linearSegmentationSpec,
  mmdetRules,
  namesOf,
  retinaNetSpec,
  segFormerSpec,
  semanticFpnSpec,
  torchvisionFpnNames,
  torchvisionRetinaNetNames,
  unetSpec,
  uperNetSpec,
} from '@pvt/heads';
import { fromCanonical, fromFloat32, writeSafetensors } from '@pvt/presets';
import { expectClose, expectNoLeak, useBackend } from '@pvt/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import type { CreateRunner } from './runner.ts';
import { createClassifier, createDetector, createSegmenter } from './index.ts';

beforeAll(() => useBackend('wasm'));

const image = (width: number, height: number, seed = 1): Image => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i * seed + (i >> 3)) % 256),
});

/** A file's tensors: a spec's parameters drawn by our paths, under the names that `nameOf` gives them. */
const parameters = (spec: Spec, source: ParamSource, nameOf: (path: string) => string) =>
  Array.from(
    leavesOf(spec),
    ([path, leaf]) => [nameOf(path), fromFloat32(source.values(path, leaf), leaf.shape)] as const,
  );

const config: PvtConfig = pvtConfig({ version: 'v2', dims: [16, 32, 40, 64], depths: [1, 1, 1, 1] });
const classic: PvtConfig = pvtConfig({
  version: 'v1',
  dims: [16, 32, 40, 64],
  depths: [1, 1, 1, 1],
  imageSize: [64, 64],
  classes: 3,
});
const named =
  (prefix: string, which: PvtConfig = config) =>
  (path: string) => {
    const state = new Map([[path, { shape: [2], values: new Float32Array(2) }]]);
    return `${prefix}${[...fromCanonical(state, 'official', which).keys()][0]}`;
  };
const backboneFile = (prefix: string, which: PvtConfig = config) =>
  parameters(pvtSpec(which), randomInit(1), named(prefix, which));
const features = createFeatures();
function createFeatures() {
  return [4, 8, 16, 32].map((stride, i) => ({ name: `stage${i + 1}`, stride, channels: config.dims[i]! }));
}

const size = { shortSide: 64, longSide: 96 };

describe('createClassifier', () => {
  const bytes = () => readFile(checkpoints['pvt_v2_nano.cifar10'].url);

  it('names what it sees, of one image or of several, and leaves nothing behind', async () => {
    const file = await bytes();
    await expectNoLeak(async () => {
      const classifier = await createClassifier(file, { batch: 2 });
      expect(classifier.names).toHaveLength(10);
      expect(classifier.report).toMatchObject({ missing: [], unexpected: [] });
      const one = await classifier.classify(image(40, 30));
      expect(one).toHaveLength(5);
      expect(classifier.names[one[0]!.label]).toBe(one[0]!.name);
      const all = await classifier.classify([image(40, 30), image(33, 50, 3), image(64, 64, 5)], {
        top: 10,
      });
      expect(all.map((predictions) => predictions.length)).toEqual([10, 10, 10]);
      for (const predictions of all)
        await expectClose([predictions.reduce((sum, { probability }) => sum + probability, 0)], [1], 1e-6);
      await expectClose(
        all[0]!.slice(0, 5).map(({ probability }) => probability),
        one.map(({ probability }) => probability),
        1e-5,
      );
      expect(await classifier.classify([])).toEqual([]);
      classifier.dispose();
      classifier.dispose();
      await expect(classifier.classify(image(40, 30))).rejects.toThrow(
        expect.objectContaining({ code: 'disposed' }),
      );
    });
  });

  it('runs on a given runner, disposes of it, and frees the model if it cannot start', async () => {
    const file = await bytes();
    const here = await createClassifier(file, { warmUp: false });
    const expected = await here.classify(image(40, 30));
    here.dispose();
    let runs = 0;
    let disposed = false;
    const runner: CreateRunner = async (forward) => ({
      run: async (input) => (runs++, forward(input)),
      dispose: () => void (disposed = true),
    });
    await expectNoLeak(async () => {
      const classifier = await createClassifier(file, { runner });
      expect(await classifier.classify(image(40, 30))).toEqual(expected);
      expect([runs, disposed]).toEqual([2, false]);
      classifier.dispose();
      expect(disposed).toBe(true);
      await expect(
        createClassifier(file, { runner: () => Promise.reject(new Error('no threads')) }),
      ).rejects.toThrow('no threads');
    });
  });

  it('gives the logits of an image, and of images that are prepared already', async () => {
    const file = await bytes();
    await expectNoLeak(async () => {
      const classifier = await createClassifier(file, { warmUp: false });
      const input = preprocess([image(40, 30), image(33, 50, 3)], classifier.preprocessing);
      const both = await classifier.forward(input);
      const one = await classifier.forward(image(40, 30));
      expect([both.logits.shape, one.logits.shape, input.isDisposed]).toEqual([[2, 10], [1, 10], false]);
      const [expected] = (await both.logits.array()) as number[][];
      await expectClose(one.logits, expected!, 1e-5);
      const [best] = await classifier.classify(image(40, 30), { top: 1 });
      expect(best!.label).toBe(expected!.indexOf(Math.max(...expected!)));
      tf.dispose([input, both.logits, one.logits]);
      classifier.dispose();
    });
  });

  it('stops at an abort', async () => {
    const file = await bytes();
    await expect(createClassifier(file, { signal: AbortSignal.abort() })).rejects.toThrow(
      expect.objectContaining({ name: 'AbortError' }),
    );
    const classifier = await createClassifier(file, { batch: 1, warmUp: false });
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 50);
    await expectNoLeak(() =>
      expect(
        classifier.classify(Array<Image>(500).fill(image(64, 64)), { signal: controller.signal }),
      ).rejects.toThrow('enough'),
    );
    classifier.dispose();
  });

  it('refuses a checkpoint that does not say how images are prepared', async () => {
    const file = writeSafetensors([
      ...backboneFile(''),
      ['head.weight', fromFloat32(new Float32Array(128), [2, 64])],
      ['head.bias', fromFloat32(new Float32Array(2), [2])],
    ]);
    await expectNoLeak(() =>
      expect(createClassifier(file)).rejects.toThrow(
        expect.objectContaining({ code: 'preprocessing-missing' }),
      ),
    );
    const classifier = await createClassifier(file, {
      preprocessing: { crop: [64, 64], rescale: 1 / 255 },
      names: ['yes', 'no'],
      warmUp: false,
    });
    expect(await classifier.classify(image(64, 64))).toEqual([
      { label: 0, name: 'yes', probability: 0.5 },
      { label: 1, name: 'no', probability: 0.5 },
    ]);
    classifier.dispose();
  });

  it('refuses a checkpoint without a classifier', () =>
    expect(createClassifier(writeSafetensors(backboneFile('')), { preprocessing: {} })).rejects.toThrow(
      expect.objectContaining({ code: 'classes-invalid' }),
    ));
});

describe('createDetector', () => {
  const neckConfig = { features, channels: 24, startLevel: 1, outputs: 5, extra: 'input' } as const;
  const levels = [8, 16, 32, 64, 128].map((stride) => ({ name: '', stride, channels: 24 }));
  const headConfig = { features: levels, classes: 4, depth: 2 };
  const neckSource = randomInit(2);
  const headSource = randomInit(3);
  const mmdet = (prefix: string, which: PvtConfig = config) => [
    ...backboneFile(`${prefix}backbone.`, which),
    ...parameters(fpnSpec(neckConfig), neckSource, (path) => `${prefix}neck.${path}`),
    ...parameters(retinaNetSpec(headConfig), headSource, (path) => `${prefix}bbox_head.${path}`),
  ];
  const torchvision = (old: boolean) => {
    const pick = (names: string[]) => names.at(old ? -1 : 0)!;
    return [
      ...backboneFile('backbone.body.'),
      ...parameters(
        fpnSpec({ ...neckConfig, extra: 'output' }),
        neckSource,
        (path) => `backbone.fpn.${pick(namesOf(path, torchvisionFpnNames(3)))}`,
      ),
      ...parameters(
        retinaNetSpec(headConfig),
        headSource,
        (path) => `head.${pick(namesOf(path, torchvisionRetinaNetNames(2)))}`,
      ),
    ];
  };

  it.each([
    ['mmdetection', mmdet(''), 'input', false],
    ['mmdetection inside a wrapper', mmdet('module.'), 'input', false],
    ['mmdetection on PVT v1', mmdet('', classic), 'input', false],
    ['torchvision', torchvision(false), 'output', true],
    ['torchvision before 0.13', torchvision(true), 'output', true],
  ] as const)('reads a checkpoint of %s in one call', async (_, tensors, extra, relu) => {
    await expectNoLeak(async () => {
      const detector = await createDetector(
        writeSafetensors([
          ...tensors,
          ['bbox_head.num_batches_tracked', fromFloat32(new Float32Array(1), [1])],
          ['extra.weight', fromFloat32(new Float32Array(1), [1])],
        ]),
        { size },
      );
      expect(detector.model.parts.neck.config).toMatchObject({
        extra,
        reluBeforeExtra: relu,
        startLevel: 1,
        outputs: 5,
        channels: 24,
      });
      expect(detector.model.parts.head.config).toMatchObject({ classes: 4, depth: 2 });
      expect(detector.report).toMatchObject({ missing: [], mismatched: [] });
      expect(detector.report!.unexpected.filter((name) => !/cls_token|stages\.3\.norm/.test(name))).toEqual([
        'extra.weight',
      ]);

      const { levels, prepared } = await detector.forward(image(60, 40));
      const backbone = detector.model.parts.backbone;
      const neck = createFpn({ ...neckConfig, extra, reluBeforeExtra: relu }, neckSource);
      const head = createRetinaNet(
        { ...headConfig, rules: detector.model.parts.head.config.rules },
        headSource,
      );
      const expected = tf.tidy(
        () =>
          head.forward(
            neck.forward(backbone.forward(tf.tensor4d(prepared.values, [1, ...prepared.size, 3])).pyramid),
          ) as unknown as tf.TensorContainer,
      ) as unknown as typeof levels;
      for (const [i, { logits, deltas }] of levels.entries()) {
        await expectClose(logits, await expected[i]!.logits.data(), 0);
        await expectClose(deltas, await expected[i]!.deltas.data(), 0);
      }
      tf.dispose([levels, expected] as unknown as tf.TensorContainer);
      for (const one of [neck, head, detector]) one.dispose();
    });
  });

  it('finds objects in the pixels of each image, and none above an impossible score', async () => {
    await expectNoLeak(async () => {
      const detector = await createDetector(writeSafetensors(mmdet('')), {
        size,
        names: ['a', 'b', 'c', 'd'],
        batch: 2,
      });
      const images = [image(120, 80), image(31, 64, 3), image(31, 64, 5)];
      const found = await detector.detect(images, { scoreThreshold: 0.001, maxDetections: 7 });
      for (const [i, objects] of found.entries()) {
        expect(objects).toHaveLength(7);
        for (const { box, score, name } of objects) {
          const [left, top, right, bottom] = box;
          expect(
            left >= 0 &&
              top >= 0 &&
              right <= images[i]!.width + 1e-9 &&
              bottom <= images[i]!.height + 1e-9 &&
              left <= right &&
              top <= bottom,
          ).toBe(true);
          expect(score).toBeGreaterThan(0.001);
          expect(['a', 'b', 'c', 'd']).toContain(name);
        }
      }
      expect(await detector.detect(images[2]!, { scoreThreshold: 0.001, maxDetections: 7 })).toEqual(
        found[2],
      );
      expect(await detector.detect(images[0]!, { scoreThreshold: 0.99 })).toEqual([]);
      expect(await detector.detect([])).toEqual([]);
      await expect(detector.detect(images[0]!, { scoreThreshold: NaN })).rejects.toThrow(
        expect.objectContaining({ code: 'threshold-invalid' }),
      );
      detector.dispose();
      await expect(detector.detect(images[0]!)).rejects.toThrow(
        expect.objectContaining({ code: 'disposed' }),
      );
    });
  });

  it('takes parts of one’s own', async () => {
    await expectNoLeak(async () => {
      const backbone = createPvt(config, randomInit(1));
      const neck = createFpn({ features: backbone.features, channels: 8 }, randomInit(2));
      const head = createRetinaNet(
        { features: neck.features, classes: 80, depth: 1, rules: { ...mmdetRules, scoreThreshold: 0.001 } },
        randomInit(3),
      );
      const detector = await createDetector({ backbone, neck, head }, { size });
      const [best] = await detector.detect(image(50, 50));
      expect(best!.name).toBe(detector.names[best!.label]);
      expect(detector.names[0]).toBe('person');
      detector.dispose();
    });
  });

  it.each([
    ['head-missing', () => createDetector(writeSafetensors(backboneFile('')))],
    ['size-invalid', () => createDetector(writeSafetensors(mmdet('')), { size: { shortSide: 0 } })],
    [
      'checkpoint-misfit',
      () =>
        createDetector(writeSafetensors(mmdet('').filter(([name]) => name !== 'bbox_head.retina_reg.bias'))),
    ],
    [
      'not-finite',
      () =>
        createDetector(
          writeSafetensors(
            mmdet('').map(
              ([name, tensor]) =>
                [
                  name,
                  name === 'neck.fpn_convs.4.conv.bias'
                    ? fromFloat32(new Float32Array(24).fill(NaN), [24])
                    : tensor,
                ] as const,
            ),
          ),
        ),
    ],
  ])('says %s, and leaves nothing behind', async (code, create) => {
    await expectNoLeak(() => expect(create()).rejects.toThrow(expect.objectContaining({ code })));
  });
});

describe('createSegmenter', () => {
  const neckConfig = { features, channels: 12 };
  const neckLevels = features.map((feature) => ({ ...feature, channels: 12 }));
  const shared = { features, classes: 5, channels: 10 };
  const kinds = {
    'semantic FPN': {
      spec: semanticFpnSpec({ ...shared, features: neckLevels }),
      neck: true,
      create: createSemanticFpn,
    },
    UPerNet: { spec: uperNetSpec(shared), neck: false, create: createUperNet },
    SegFormer: { spec: segFormerSpec(shared), neck: false, create: createSegFormer },
    'U-Net': { spec: unetSpec({ features, classes: 5 }), neck: false, create: createUnet },
    linear: { spec: linearSegmentationSpec(shared), neck: false, create: createLinearSegmentation },
  };

  it.each(Object.entries(kinds))(
    'reads a checkpoint with %s in one call, and labels every pixel',
    async (_, { spec, neck }) => {
      await expectNoLeak(async () => {
        const file = writeSafetensors([
          ...backboneFile('backbone.'),
          ...(neck ? parameters(fpnSpec(neckConfig), randomInit(2), (path) => `neck.${path}`) : []),
          ...parameters(spec, randomInit(3), (path) => `decode_head.${path}`),
        ]);
        const segmenter = await createSegmenter(file, {
          size: { shortSide: 64, longSide: 128 },
          names: ['sky', 'sea', 'sand', 'snow', 'salt'],
          batch: 2,
        });
        expect(segmenter.report).toMatchObject({ missing: [], mismatched: [], unexpected: [] });
        const images = [image(70, 50), image(50, 70, 3), image(50, 70, 5), image(51, 71, 5)];
        const maps = await segmenter.segment(images, { scores: true });
        expect(
          maps.map(({ width, height, labels, scores }) => [width, height, labels.length, scores!.length]),
        ).toEqual(images.map(({ width, height }) => [width, height, width * height, width * height]));
        expect(Math.max(...maps.flatMap(({ labels }) => [...labels]))).toBeLessThan(5);
        expect((await segmenter.segment(images[2]!)).labels).toEqual(maps[2]!.labels);
        expect(await segmenter.segment([])).toEqual([]);
        segmenter.dispose();
        await expect(segmenter.segment(images[0]!)).rejects.toThrow(
          expect.objectContaining({ code: 'disposed' }),
        );
      });
    },
  );

  it('refuses a checkpoint without a head', () =>
    expectNoLeak(() =>
      expect(createSegmenter(writeSafetensors(backboneFile('')))).rejects.toThrow(
        expect.objectContaining({ code: 'head-missing' }),
      ),
    ));
});
