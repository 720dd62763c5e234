import { describe, expect, it } from 'vitest';
import { pvtConfig } from '../config.ts';
import { cost } from './cost.ts';

const dims = [64, 128, 320, 512];
const v1 = (depths: number[]) => pvtConfig({ version: 'v1', dims, depths });
const v2 = (depths: number[], rest = {}) => pvtConfig({ version: 'v2', dims, depths, ...rest });

/** Measured on the official code at 224x224: parameters with the 1000-class head, and multiply-adds. */
const published = {
  pvt_tiny: [v1([2, 2, 2, 2]), 13_229_288, 1_932_911_616],
  pvt_small: [v1([3, 4, 6, 3]), 24_485_864, 3_815_701_504],
  pvt_medium: [v1([3, 4, 18, 3]), 44_208_104, 6_659_175_424],
  pvt_large: [v1([3, 8, 27, 3]), 61_369_320, 9_813_765_632],
  pvt_v2_b0: [v2([2, 2, 2, 2], { dims: [32, 64, 160, 256] }), 3_666_760, 566_065_664],
  pvt_v2_b1: [v2([2, 2, 2, 2]), 14_009_000, 2_108_355_584],
  pvt_v2_b2: [v2([3, 4, 6, 3]), 25_362_856, 4_026_734_592],
  pvt_v2_b2_li: [v2([3, 4, 6, 3], { linear: true }), 22_553_512, 3_888_850_944],
  pvt_v2_b3: [v2([3, 4, 18, 3]), 45_238_696, 6_897_303_552],
  pvt_v2_b4: [v2([3, 8, 27, 3]), 62_556_072, 10_101_116_416],
  pvt_v2_b5: [v2([3, 6, 40, 3], { mlpRatios: [4, 4, 4, 4] }), 81_956_008, 11_717_260_288],
} as const;

describe('cost', () => {
  it.each(Object.entries(published))(
    '%s equals the official code to the unit',
    (_, [config, params, macs]) => {
      expect(cost(config)).toMatchObject({ params, macs });
    },
  );

  it('equals the official code stage by stage, and at 512x512', () => {
    expect(cost(published.pvt_tiny[0]).stages.map(({ macs }) => macs)).toEqual([
      537_886_720, 536_682_496, 506_024_960, 351_805_440,
    ]);
    expect(cost(published.pvt_tiny[0], [512, 512]).macs).toBe(11_751_905_280);
  });

  it('shows why attention stays affordable: K and V shrink', () => {
    const { stages } = cost(published.pvt_v2_b2[0]);
    expect(stages.map(({ tokens, keyTokens }) => [tokens, keyTokens])).toEqual([
      [3136, 49],
      [784, 49],
      [196, 49],
      [49, 49],
    ]);
    expect(stages[0]!.attentionMap).toEqual([1, 3136, 49]);
    expect(cost(published.pvt_tiny[0]).stages[3]).toMatchObject({
      tokens: 50,
      keyTokens: 50,
      grid: [7, 7],
      stride: 32,
    });
    expect(cost(published.pvt_v2_b2_li[0], [896, 896]).stages.map(({ keyTokens }) => keyTokens)).toEqual([
      49, 49, 49, 49,
    ]);
  });

  it('adds up', () => {
    const { layers, stages, activationBytes } = cost(published.pvt_v2_b2_li[0], [197, 251]);
    const head = layers.at(-1)!;
    expect(head).toMatchObject({ path: 'head', params: 513_000, macs: 512_000, output: [1000] });
    expect(stages.reduce((sum, stage) => sum + stage.activationBytes, head.activationBytes)).toBe(
      activationBytes,
    );
    expect(layers.find(({ path }) => path === 'stages.0.patch_embed.proj')).toMatchObject({
      output: [50, 63, 64],
      activationBytes: 4 * 50 * 63 * 64,
    });
  });

  it('counts no classifier without classes', () => {
    expect(cost(v2([2, 2, 2, 2], { classes: 0 })).params).toBe(14_009_000 - 513_000);
  });
});
