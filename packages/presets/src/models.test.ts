import { ConfigError, countParams, pvtConfig, type PvtConfigInput } from '@pvt/core';
import { expect, it } from 'vitest';
import { checkpointSpec, modelNameOf } from './index.ts';
import { getModel, listModels } from './models.ts';

it('lists variants by shell patterns', () => {
  expect(listModels()).toHaveLength(13);
  expect(listModels('pvt_v2_b2*')).toEqual(['pvt_v2_b2', 'pvt_v2_b2_li']);
  expect(listModels('pvt_v2_b?')).toEqual([
    'pvt_v2_b0',
    'pvt_v2_b1',
    'pvt_v2_b2',
    'pvt_v2_b3',
    'pvt_v2_b4',
    'pvt_v2_b5',
  ]);
  expect(listModels('*_*ge')).toEqual(['pvt_large', 'pvt_huge']);
  expect(listModels('PVT')).toEqual([]);
  expect(listModels(`${'*a'.repeat(5000)}`)).toEqual([]);
});

it.each(listModels())(
  '%s has the published number of parameters and is found again by its shapes',
  (name) => {
    const { config, params } = getModel(name);
    const complete = pvtConfig<PvtConfigInput>(config);
    expect(countParams(checkpointSpec(complete))).toBe(params);
    expect(modelNameOf(complete)).toBe(name);
  },
);

it('suggests the nearest names', () => {
  expect(() => getModel('pvt2_b0')).toThrow(ConfigError);
  expect(() => getModel('pvt_v2_b2_linear')).toThrow(/did you mean pvt_v2_b2_li,/);
  expect(() => getModel('__proto__')).toThrow(expect.objectContaining({ code: 'model-unknown' }));
});

it('knows a name while compiling', () => {
  const version: 'v2' = getModel('pvt_v2_b0').config.version;
  const top1: 70.5 = getModel('pvt_v2_b0').top1;
  expect([version, top1]).toEqual(['v2', 70.5]);
});
