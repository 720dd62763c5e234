import { leavesOf, pvtConfig, pvtSpec, randomInit, type Spec } from '@pvt/core';
import { fpnSpec, semanticFpnSpec } from '@pvt/heads';
import { fromCanonical, fromFloat32, writeSafetensors } from '@pvt/presets';

/** The smallest backbone with all that matters. */
const body = pvtConfig({
  version: 'v2',
  dims: [8, 16, 20, 32],
  depths: [1, 1, 1, 1],
  mlpRatios: [2, 2, 2, 2],
  classes: 0,
});
const features = body.dims.map((channels, i) => ({ name: `stage${i + 1}`, stride: 4 * 2 ** i, channels }));

const official = (path: string): string =>
  `backbone.${[...fromCanonical(new Map([[path, { shape: [2], values: new Float32Array(2) }]]), 'official', body).keys()][0]}`;

/** Random parameters; weights are `gain` times as large as initialisers draw them, so that images make a difference. */
const drawn = (spec: Spec, seed: number, nameOf: (path: string) => string, gain = 1) =>
  Array.from(leavesOf(spec), ([path, leaf]) => {
    const values = randomInit(seed).values(path, leaf);
    return [
      nameOf(path),
      fromFloat32(
        path.endsWith('weight') && leaf.shape.length > 1 ? values.map((value) => gain * value) : values,
        leaf.shape,
      ),
    ] as const;
  });

/** A semantic FPN of four classes, with mmsegmentation's names. */
export function segmenter(): Uint8Array {
  const head = {
    features: features.map((feature) => ({ ...feature, channels: 12 })),
    classes: 4,
    channels: 10,
  };
  return writeSafetensors([
    ...drawn(pvtSpec(body), 1, official, 4),
    ...drawn(fpnSpec({ features, channels: 12 }), 2, (path) => `neck.${path}`),
    ...drawn(semanticFpnSpec(head), 6, (path) => `decode_head.${path}`),
  ]);
}
