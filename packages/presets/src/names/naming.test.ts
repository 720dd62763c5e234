import { createHash } from 'node:crypto';
import { leavesOf, pvtConfig, sizeOf, type PvtConfig, type PvtConfigInput, type StateDict } from '@pvt/core';
import { describe, expect, it } from 'vitest';
import published from '../fixtures/names.json';
import { checkpointSpec, getModel } from '../index.ts';
import { detectNaming, fromCanonical, toCanonical, type Naming } from './naming.ts';

/** A state with the shapes of a config, and no values: names do not look at them. */
const shapesOf = (config: PvtConfig): StateDict =>
  new Map(
    Array.from(leavesOf(checkpointSpec(config)), ([path, { shape }]) => [
      path,
      { shape, values: new Float32Array(0) },
    ]),
  );

const cases = (
  Object.entries(published) as [Naming, Record<string, { count: number; sha256: string }>][]
).flatMap(([naming, variants]) =>
  Object.entries(variants).map(([name, list]) => ({ naming, name, ...list })),
);

describe('published names and shapes', () => {
  // The digests are of the state dicts of the three implementations, one "name AxBxC" per line, sorted.
  it.each(cases)('$naming, $name: all $count', ({ naming, name, count, sha256 }) => {
    const config: PvtConfig = pvtConfig<PvtConfigInput>(getModel(name).config);
    const named = fromCanonical(shapesOf(config), naming, config);
    const lines = Array.from(named, ([path, { shape }]) => `${path} ${shape.join('x')}`).sort();
    expect(lines).toHaveLength(count);
    expect(createHash('sha256').update(lines.join('\n')).digest('hex')).toBe(sha256);
  });

  it.each(cases)('$naming, $name: recognised, and back again', ({ naming, name }) => {
    const config: PvtConfig = pvtConfig<PvtConfigInput>(getModel(name).config);
    const state = shapesOf(config);
    const back = toCanonical(fromCanonical(state, naming, config));
    expect(back).toMatchObject({ naming, version: config.version, unexpected: [] });
    expect(new Map(Array.from(back.state, ([path, { shape }]) => [path, shape.join()]))).toEqual(
      new Map(Array.from(state, ([path, { shape }]) => [path, shape.join()])),
    );
  });
});

const shared = { dims: [16, 32, 40, 64], depths: [1, 2, 1, 1], imageSize: [64, 64], classes: 10 } as const;
const small = {
  v1: pvtConfig({ version: 'v1', ...shared }),
  v2: pvtConfig({ version: 'v2', ...shared }),
  linear: pvtConfig({ version: 'v2', linear: true, ...shared }),
} as const;

/** A state in which no value occurs twice. */
const distinct = (config: PvtConfig): StateDict => {
  let next = 0;
  return new Map(
    Array.from(leavesOf(checkpointSpec(config)), ([path, { shape }]) => [
      path,
      { shape, values: Float32Array.from({ length: sizeOf(shape) }, () => next++) },
    ]),
  );
};

describe.each(Object.entries(small))('values of %s', (_name, config) => {
  const namings = (['official', 'timm', 'huggingFace', 'canonical'] as const).filter(
    (naming) => naming !== 'timm' || config.version === 'v2',
  );

  it.each(namings)('survive %s', (naming) => {
    const state = distinct(config);
    const { state: back } = toCanonical(fromCanonical(state, naming, config), naming);
    expect([...back.keys()].sort()).toEqual([...state.keys()].sort());
    for (const [path, { shape, values }] of state) {
      expect([path, back.get(path)!.shape]).toEqual([path, shape]);
      expect(
        Buffer.compare(Buffer.from(back.get(path)!.values.slice().buffer), Buffer.from(values.buffer)),
      ).toBe(0);
    }
  });
});

it('splits keys and values at row C', () => {
  const kv = { shape: [4, 2], values: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8) };
  const named = fromCanonical(new Map([['stages.1.blocks.0.attn.kv.weight', kv]]), 'huggingFace', small.v2);
  expect(Object.fromEntries(named)).toEqual({
    'pvt_v2.encoder.layers.1.blocks.0.attention.key.weight': {
      shape: [2, 2],
      values: Float32Array.of(1, 2, 3, 4),
    },
    'pvt_v2.encoder.layers.1.blocks.0.attention.value.weight': {
      shape: [2, 2],
      values: Float32Array.of(5, 6, 7, 8),
    },
  });
});

const tensor = { shape: [2], values: Float32Array.of(1, 2) };
const one = (...names: string[]): StateDict => new Map(names.map((name) => [name, tensor]));

describe('around a backbone', () => {
  it.each([
    ['module.patch_embed1.norm.weight', 'official', 'stages.0.patch_embed.norm.weight'],
    ['backbone.block4.2.mlp.dwconv.dwconv.bias', 'official', 'stages.3.blocks.2.mlp.dwconv.bias'],
    ['module.backbone.body.norm3.bias', 'official', 'stages.2.norm.bias'],
    ['model.stages.3.downsample.norm.bias', 'timm', 'stages.3.patch_embed.norm.bias'],
    ['encoder.block.1.0.layer_norm_2.weight', 'huggingFace', 'stages.1.blocks.0.norm2.weight'],
    ['encoder.layers.1.layer_norm.weight', 'huggingFace', 'stages.1.norm.weight'],
  ] as const)('%s is %s for %s', (name, naming, path) => {
    const { state, naming: found } = toCanonical(one(name));
    expect([found, ...state.keys()]).toEqual([naming, path]);
  });

  it('gives the names of necks and heads back', () => {
    const { state, unexpected } = toCanonical(
      one(
        'backbone.norm1.weight',
        'neck.lateral_convs.0.conv.weight',
        'patch_embed0.norm.weight',
        'norm01.weight',
      ),
    );
    expect([...state.keys()]).toEqual(['stages.0.norm.weight']);
    expect(unexpected).toEqual([
      'neck.lateral_convs.0.conv.weight',
      'patch_embed0.norm.weight',
      'norm01.weight',
    ]);
  });

  it('puts what v1 has once into its last stage', () => {
    const { state } = toCanonical(one('pos_embed1', 'pos_embed2', 'pos_embed3', 'cls_token', 'norm.weight'));
    expect([...state.keys()]).toEqual([
      'stages.0.pos_embed',
      'stages.1.pos_embed',
      'stages.2.pos_embed',
      'stages.2.cls_token',
      'stages.2.norm.weight',
    ]);
  });
});

it.each([
  ['naming-unknown', () => toCanonical(one('layer1.0.conv1.weight', 'fc.weight'))],
  ['naming-unknown', () => detectNaming([])],
  ['names-collide', () => toCanonical(one('norm1.weight', 'module.norm1.weight'))],
  ['parts-mismatched', () => toCanonical(one('pvt_v2.encoder.layers.0.blocks.0.attention.key.bias'))],
  ['naming-unsupported', () => fromCanonical(new Map(), 'timm', small.v1)],
  ['names-unmapped', () => fromCanonical(one('stages.0.pos_embed'), 'official', small.v2)],
])('says %s', (code, act) => {
  expect(act).toThrow(expect.objectContaining({ code }));
});
