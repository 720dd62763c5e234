import { leavesOf, pvtConfig, pvtSpec, randomInit, type Spec } from '@pvt/core';
import { fpnSpec, retinaNetSpec } from '@pvt/heads';
import { fromCanonical, fromFloat32, writeSafetensors } from '@pvt/presets';
import { expectNoLeak, useBackend } from '@pvt/testing';
import { expect, it } from 'vitest';
import { createDetector } from './index.ts';

const config = pvtConfig({ version: 'v2', dims: [16, 32, 40, 64], depths: [1, 1, 1, 1] });
const features = config.dims.map((channels, i) => ({ name: '', stride: 4 * 2 ** i, channels }));
const levels = [8, 16, 32, 64, 128].map((stride) => ({ name: '', stride, channels: 16 }));
const official = (path: string) => {
  const state = new Map([[path, { shape: [2], values: new Float32Array(2) }]]);
  return `backbone.${[...fromCanonical(state, 'official', config).keys()][0]}`;
};
const drawn = (spec: Spec, nameOf: (path: string) => string) =>
  Array.from(
    leavesOf(spec),
    ([path, leaf]) => [nameOf(path), fromFloat32(randomInit(1).values(path, leaf), leaf.shape)] as const,
  );

it('detects on a canvas, from a file', async () => {
  await useBackend('webgl');
  const file = new File(
    [
      new Uint8Array(
        writeSafetensors([
          ...drawn(pvtSpec(config), official),
          ...drawn(
            fpnSpec({ features, channels: 16, startLevel: 1, outputs: 5, extra: 'input' }),
            (path) => `neck.${path}`,
          ),
          ...drawn(retinaNetSpec({ features: levels, classes: 3, depth: 1 }), (path) => `bbox_head.${path}`),
        ]),
      ),
    ],
    'retinanet.safetensors',
  );
  const canvas = new OffscreenCanvas(50, 40);
  canvas.getContext('2d')!.fillRect(10, 10, 20, 20);
  await expectNoLeak(async () => {
    const detector = await createDetector(file, {
      size: { shortSide: 64, longSide: 96 },
      names: ['a', 'b', 'c'],
    });
    const objects = await detector.detect(canvas, { scoreThreshold: 0.001, maxDetections: 5 });
    expect(objects).toHaveLength(5);
    for (const { box, name } of objects) {
      expect(Math.max(box[2] / 50, box[3] / 40)).toBeLessThanOrEqual(1 + 1e-9);
      expect(['a', 'b', 'c']).toContain(name);
    }
    detector.dispose();
  });
});
