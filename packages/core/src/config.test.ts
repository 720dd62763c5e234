import { describe, expect, it } from 'vitest';
import { gridSizes, pvtConfig, type PvtConfigInput } from './config.ts';
import { ConfigError, ShapeError } from './errors.ts';

const v1 = { version: 'v1', dims: [64, 128, 320, 512], depths: [2, 2, 2, 2] } as const;
const v2 = { version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2] } as const;

function problem(input: unknown): ConfigError {
  try {
    pvtConfig(input as PvtConfigInput);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('the config was accepted');
}

describe('pvtConfig', () => {
  it('fills in what the published models share', () => {
    expect(pvtConfig(v1)).toMatchObject({
      patchSizes: [4, 2, 2, 2],
      strides: [4, 2, 2, 2],
      reductions: [8, 4, 2, 1],
      classToken: true,
      classes: 1000,
    });
    expect(pvtConfig(v2)).toMatchObject({
      patchSizes: [7, 3, 3, 3],
      heads: [1, 2, 5, 8],
      linear: false,
      eps: { block: 1e-6, patchEmbed: 1e-5, reduction: 1e-5 },
    });
  });

  it('keeps what the caller says', () => {
    expect(
      pvtConfig({ ...v2, eps: { block: 1e-6, patchEmbed: 1e-6, reduction: 1e-6 }, classes: 0 }),
    ).toMatchObject({ classes: 0, eps: { patchEmbed: 1e-6 } });
  });

  it.each([
    ['version', { ...v2, version: 'v3' }],
    ['dims', { version: 'v2', depths: [1] }],
    ['dims', { ...v2, dims: [] }],
    ['dims[1]', { ...v2, dims: [32, -64, 160, 256] }],
    ['depths', { ...v2, depths: [2, 2, 2] }],
    ['depths[0]', { ...v2, depths: [1.5, 2, 2, 2] }],
    ['heads[2]', { ...v2, heads: [1, 2, 7, 8] }],
    ['mlpRatios[3]', { ...v2, mlpRatios: [8, 8, 4, 0] }],
    ['mlpRatios[3]', { ...v2, mlpRatios: [8, 8, 4, 0.001] }],
    ['reductions[0]', { ...v2, reductions: [0, 4, 2, 1] }],
    ['patchSizes[0]', { ...v2, patchSizes: ['7', 3, 3, 3] }],
    ['strides', { ...v2, strides: 4 }],
    ['imageSize', { ...v2, imageSize: 224 }],
    ['channels', { ...v2, channels: 0 }],
    ['classes', { ...v2, classes: -1 }],
    ['activation', { ...v2, activation: 'gelu_new' }],
    ['dropout', { ...v2, dropout: 1 }],
    ['attentionDropout', { ...v2, attentionDropout: Number.NaN }],
    ['dropPath', { ...v2, dropPath: -0.1 }],
    ['eps.block', { ...v2, eps: { block: 0 } }],
    ['eps.blocks', { ...v2, eps: { blocks: 1e-6 } }],
    ['initRange', { ...v2, initRange: 0 }],
    ['qkvBias', { ...v2, qkvBias: 'yes' }],
    ['linear', { ...v1, linear: true }],
    ['classToken', { ...v2, classToken: true }],
    ['classToken', { ...v1, classToken: 1 }],
    ['embed_dims', { ...v2, embed_dims: [64] }],
  ])('names the field %s', (field, input) => {
    const error = problem(input);
    expect(error.code).toBe('config-invalid');
    expect(error.message).toContain(`PvtConfig.${field}: expected `);
    expect(error.message).toMatch(/, got .+; .+\.$/);
  });
});

describe('gridSizes', () => {
  it('follows the convolutions', () => {
    expect(gridSizes(pvtConfig(v2), [224, 224])).toEqual([
      [56, 56],
      [28, 28],
      [14, 14],
      [7, 7],
    ]);
    expect(gridSizes(pvtConfig(v2), [197, 251])).toEqual([
      [50, 63],
      [25, 32],
      [13, 16],
      [7, 8],
    ]);
    expect(gridSizes(pvtConfig(v1), [200, 264])).toEqual([
      [50, 66],
      [25, 33],
      [12, 16],
      [6, 8],
    ]);
  });

  it('refuses a map smaller than its reduction and says which', () => {
    expect(() => gridSizes(pvtConfig(v2), [28, 64])).toThrow(ShapeError);
    expect(() => gridSizes(pvtConfig(v2), [28, 64])).toThrow(
      /stage 1 map is at least 8x8 .* got 28x64, which gives 7x16/,
    );
    expect(gridSizes(pvtConfig({ ...v2, linear: true }), [1, 1])).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
  });
});
