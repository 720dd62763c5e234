import { createPvt, countParams, linearSpec, createModel, pvtConfig, randomInit } from '@pvt/core';
import { useBackend } from '@pvt/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createToy } from './fixtures/toy.ts';
import {
  decayWeightsOnly,
  fromStage,
  headOnly,
  layerDecay,
  matching,
  parametersOf,
  parameterTable,
  stateEntries,
} from './parameters.ts';

let toy: ReturnType<typeof createToy>;
beforeAll(async () => {
  await useBackend('cpu');
  toy = createToy();
});
afterAll(() => toy.dispose());

const paths = (...[models, selection]: Parameters<typeof parametersOf>) =>
  parametersOf(models, selection).map(({ path }) => path);

describe('what trains', () => {
  it('names parameters below their models, without buffers', () => {
    const all = paths(toy.models);
    expect(all.length).toBe(stateEntries(toy.models).length - 2);
    expect(all).toContain('backbone.stages.0.blocks.0.attn.q.weight');
    expect(all.filter((path) => path.startsWith('head.'))).toEqual([
      'head.bn.weight',
      'head.bn.bias',
      'head.fc.weight',
      'head.fc.bias',
    ]);
    expect(paths(toy.models.backbone)[0]).toBe('stages.0.patch_embed.proj.weight');
  });

  it('chooses by part, by stage and by pattern', () => {
    expect(paths(toy.models, headOnly).every((path) => path.startsWith('head.'))).toBe(true);
    const late = paths(toy.models, fromStage(3));
    expect(new Set(late.map((path) => path.split('.').slice(0, 3).join('.')))).toEqual(
      new Set([
        'backbone.stages.2',
        'backbone.stages.3',
        'head.bn.weight',
        'head.bn.bias',
        'head.fc.weight',
        'head.fc.bias',
      ]),
    );
    expect(paths(toy.models, fromStage(1))).toEqual(paths(toy.models));
    expect(paths(toy.models, matching('*.fc.*', 'backbone.stages.0.norm.*'))).toEqual([
      'backbone.stages.0.norm.weight',
      'backbone.stages.0.norm.bias',
      'head.fc.weight',
      'head.fc.bias',
    ]);
    expect(() => parametersOf(toy.models, matching('neck.*'))).toThrow(
      /such as backbone.stages.0.patch_embed.proj.weight/,
    );
    expect(() => fromStage(0)).toThrow(/counted from 1/);
  });

  it('prints counts as a table', () => {
    const backbone = countParams(toy.models.backbone.spec);
    const lines = parameterTable(toy.models, headOnly)
      .split('\n')
      .map((line) => line.trim().split(/\s{2,}/));
    expect(lines[0]).toEqual(['part', 'trainable', 'frozen']);
    expect(lines.at(-1)).toEqual(['total', `${32 + 51}`, backbone.toLocaleString('en')]);
    expect(lines.map(([part]) => part)).toEqual([
      'part',
      ...[0, 1, 2, 3].map((i) => `backbone.stages.${i}`),
      'head.bn',
      'head.fc',
      'total',
    ]);
  });
});

describe('groups', () => {
  it('decay weights only', () => {
    const model = createPvt(
      pvtConfig({
        version: 'v1',
        dims: [8],
        depths: [1],
        heads: [1],
        mlpRatios: [2],
        reductions: [2],
        patchSizes: [4],
        strides: [4],
        imageSize: [16, 16],
      }),
      randomInit(1),
    );
    const decaying = parametersOf(model)
      .filter((parameter) => decayWeightsOnly(parameter).decay === 1)
      .map(({ path }) => path);
    expect(decaying).toEqual(
      [
        'patch_embed.proj',
        ...['attn.q', 'attn.kv', 'attn.sr', 'attn.proj', 'mlp.fc1', 'mlp.fc2'].map(
          (name) => `blocks.0.${name}`,
        ),
      ].map((name) => `stages.0.${name}.weight`),
    );
    model.dispose();
  });

  it('learn more slowly towards the input', () => {
    const backbone = createPvt(
      pvtConfig({
        version: 'v2',
        dims: [8, 8],
        depths: [2, 1],
        heads: [1, 1],
        mlpRatios: [2, 2],
        reductions: [2, 1],
        patchSizes: [7, 3],
        strides: [4, 2],
      }),
      randomInit(1),
    );
    const head = createModel('probe', linearSpec(8, 2), randomInit(1), () => () => ({}));
    const parameters = parametersOf({ backbone, head });
    const group = layerDecay(0.5, parameters);
    const rates = new Map(parameters.map((parameter) => [parameter.path, group(parameter).rate]));
    const expected = {
      'stages.0.patch_embed.proj.weight': 0.125,
      'stages.0.blocks.0.norm1.weight': 0.125,
      'stages.0.blocks.1.mlp.fc1.weight': 0.25,
      'stages.0.norm.bias': 0.25,
      'stages.1.patch_embed.norm.weight': 0.5,
      'stages.1.blocks.0.attn.q.bias': 0.5,
      'stages.1.norm.weight': 0.5,
    };
    for (const [path, rate] of Object.entries(expected))
      expect(rates.get(`backbone.${path}`), `of ${path}`).toBe(rate);
    expect(rates.get('head.weight')).toBe(1);
    backbone.dispose();
    head.dispose();
  });
});
