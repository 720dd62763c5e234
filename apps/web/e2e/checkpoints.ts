import { leavesOf, pvtConfig, pvtSpec, randomInit, type Spec } from '@pvt/core';
import { fpnSpec, semanticFpnSpec } from '@pvt/heads';
import { fromCanonical, fromFloat32, writeSafetensors } from '@pvt/presets';

/** A very small backbone. */
const config = pvtConfig({
  version: 'v2',
  dims: [8, 16, 20, 32],
  depths: [1, 1, 1, 1],
  mlpRatios: [2, 2, 2, 2],
  classes: 0,
});
const features = config.dims.map((channels, i) => ({ name: `stage${i + 1}`, stride: 4 * 2 ** i, channels }));

/** The name that the official code has for a canonical path of the backbone. */
function officialName(path: string): string {
  // The values do not matter for the name.
  const blank = { shape: [2], values: new Float32Array(2) };
  const [name] = fromCanonical(new Map([[path, blank]]), 'official', config).keys();
  return `backbone.${name}`;
}

/**
 * Random parameters of a spec as tensors of a file. Weights are scaled by `gain`: as they are initialised, a
 * model's outputs would hardly depend on the image.
 */
function randomTensors(spec: Spec, seed: number, nameOf: (path: string) => string, gain = 1) {
  return Array.from(leavesOf(spec), ([path, leaf]) => {
    const values = randomInit(seed).values(path, leaf);
    const isWeight = path.endsWith('weight') && leaf.shape.length > 1;
    const scaled = isWeight ? values.map((value) => gain * value) : values;
    return [nameOf(path), fromFloat32(scaled, leaf.shape)] as const;
  });
}

/** A checkpoint of a semantic FPN with four classes, under mmsegmentation's names. */
export function segmenterFile(): Uint8Array {
  const headConfig = {
    features: features.map((feature) => ({ ...feature, channels: 12 })),
    classes: 4,
    channels: 10,
  };
  return writeSafetensors([
    ...randomTensors(pvtSpec(config), 1, officialName, 4),
    ...randomTensors(fpnSpec({ features, channels: 12 }), 2, (path) => `neck.${path}`),
    ...randomTensors(semanticFpnSpec(headConfig), 6, (path) => `decode_head.${path}`),
  ]);
}
