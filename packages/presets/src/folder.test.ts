import { createHash } from 'node:crypto';
import {
  CheckpointError,
  ConfigError,
  fromStateDict,
  leavesOf,
  pvtConfig,
  sizeOf,
  type PvtConfig,
  type PvtConfigInput,
  type PvtError,
  type Preprocessing,
  type StateDict,
} from '@pvt/core';
import { describe, expect, it } from 'vitest';
import { tensor, storage, torchLegacy, torchZip, type Value } from './formats/torch/fixtures/writer.ts';
import {
  checkCompatibility,
  checkpointSpec,
  convertCheckpoint,
  fromBytes,
  fromCanonical,
  fromFloat32,
  fromPreprocessorConfig,
  fromTimmConfig,
  getModel,
  inspect,
  listModels,
  openCheckpoint,
  parseSafetensors,
  parseShardIndex,
  readCheckpoint,
  renderCompatibility,
  renderInspection,
  savePretrained,
  toPreprocessorConfig,
  toTimmConfig,
  writeSafetensors,
  type Naming,
  type ReadableFile,
} from './index.ts';
import { official, timm } from './preprocessing.ts';

const shared = { dims: [16, 32, 40, 64], depths: [1, 2, 1, 1], imageSize: [64, 64], classes: 3 } as const;
const v1 = pvtConfig({ version: 'v1', ...shared });
const v2 = pvtConfig({ version: 'v2', ...shared });
const linear = pvtConfig({ version: 'v2', linear: true, ...shared });
const labels = ['cat', 'dog', 'axolotl'];

/** Every value in a bit pattern of its own, below one. */
function stateOf(config: PvtConfig): StateDict {
  let next = 0x3c000000;
  return new Map(
    Array.from(leavesOf(checkpointSpec(config)), ([path, { shape }]) => [
      path,
      { shape, values: new Float32Array(Uint32Array.from({ length: sizeOf(shape) }, () => next++).buffer) },
    ]),
  );
}
const savable = (config: PvtConfig, preprocessing?: Preprocessing) => ({
  config,
  source: fromStateDict(stateOf(config)),
  ...(preprocessing !== undefined && { preprocessing }),
});

/** A digest of every path, shape and bit. */
function bitsOf(state: StateDict): string {
  const hash = createHash('sha256');
  for (const [path, { shape, values }] of [...state].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash
      .update(`${path} ${shape.join()}`)
      .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return hash.digest('hex');
}

/** Files as they lie on a server: read in time, never at once. */
const distant = (files: ReadonlyMap<string, Uint8Array>): Map<string, ReadableFile> =>
  new Map(
    Array.from(files, ([name, bytes]) => [
      name,
      { name, size: bytes.length, read: async (begin, end) => bytes.slice(begin, end) },
    ]),
  );
const json = (content: unknown) => new TextEncoder().encode(JSON.stringify(content));
const parsed = (files: ReadonlyMap<string, Uint8Array>, name: string) =>
  JSON.parse(new TextDecoder().decode(files.get(name))) as Record<string, unknown>;

describe('savePretrained and back', () => {
  it.each([
    ['v1', v1, 'huggingFace'],
    ['v2', v2, 'huggingFace'],
    ['v2 linear', linear, 'huggingFace'],
    ['v2', v2, 'timm'],
    ['v2 linear', linear, 'timm'],
    ['v2 without a classifier', { ...v2, classes: 0 }, 'timm'],
    ['v2 of four channels', pvtConfig({ ...v2, channels: 4, qkvBias: false }), 'timm'],
  ] as const)(
    '%1$s as %3$s: the same bits, config, preprocessing and labels',
    async (_what, config, layout) => {
      const files = savePretrained(savable(config, official), {
        layout,
        epsilon: 'layout',
        ...(config.classes === 3 && { labels }),
      });
      const eps = layout === 'timm' ? v2.eps : { block: 1e-6, patchEmbed: 1e-6, reduction: 1e-6 };
      const imageSize = layout === 'timm' ? [224, 224] : [64, 64];
      const checkpoint = await openCheckpoint(distant(files));
      expect(bitsOf(checkpoint.state)).toBe(bitsOf(stateOf(config)));
      expect(checkpoint).toMatchObject({
        naming: layout,
        preprocessing: official,
        assumed: [],
        unexpected: [],
        ...(config.classes === 3 && { labels }),
      });
      expect(checkpoint.config).toEqual({ ...config, eps, imageSize });
    },
  );

  it.each(['F16', 'BF16'] as const)('rounds to %s', async (dtype) => {
    const files = savePretrained(savable(v2), { layout: 'timm', dtype });
    const { tensors, metadata } = parseSafetensors(files.get('model.safetensors')!);
    expect(new Set(Array.from(tensors.values(), (entry) => entry.dtype))).toEqual(new Set([dtype]));
    expect(metadata.get('format')).toBe('pt');
  });

  it('writes the fields that transformers reads', () => {
    const files = savePretrained(savable(v2, official), { layout: 'huggingFace', epsilon: 'layout', labels });
    expect([...files.keys()]).toEqual(['config.json', 'preprocessor_config.json', 'model.safetensors']);
    expect(parsed(files, 'config.json')).toMatchObject({
      model_type: 'pvt_v2',
      architectures: ['PvtV2ForImageClassification'],
      hidden_sizes: [16, 32, 40, 64],
      layer_norm_eps: 1e-6,
      id2label: { 0: 'cat', 1: 'dog', 2: 'axolotl' },
    });
    expect(parsed(files, 'preprocessor_config.json')).toMatchObject({
      image_processor_type: 'BitImageProcessor',
      size: { shortest_edge: 256 },
      resample: 3,
      do_center_crop: true,
      crop_size: { height: 224, width: 224 },
    });
  });

  it('writes the fields that timm reads', () => {
    const files = savePretrained(savable(v2, timm), { layout: 'timm', labels });
    expect(parsed(files, 'config.json')).toEqual({
      architecture: 'pvt_v2_b0',
      num_classes: 3,
      num_features: 64,
      global_pool: 'avg',
      label_names: labels,
      model_args: {
        embed_dims: [16, 32, 40, 64],
        depths: [1, 2, 1, 1],
        num_heads: [1, 2, 5, 8],
        mlp_ratios: [8, 8, 4, 4],
        sr_ratios: [8, 4, 2, 1],
        linear: false,
        drop_path_rate: 0,
      },
      pretrained_cfg: {
        custom_load: false,
        input_size: [3, 224, 224],
        interpolation: 'bicubic',
        crop_pct: 0.9,
        crop_mode: 'center',
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        fixed_input_size: false,
        num_classes: 3,
        pool_size: null,
        first_conv: 'patch_embed.proj',
        classifier: 'head',
      },
    });
    expect(toTimmConfig(pvtConfig(getModel('pvt_v2_b2_li').config), timm)).toMatchObject({
      architecture: 'pvt_v2_b2_li',
      num_classes: 1000,
    });
    expect(toTimmConfig(pvtConfig(getModel('pvt_v2_b2_li').config), timm)).not.toHaveProperty('model_args');
  });

  it.each<[string, string, () => unknown]>([
    [
      'transformers and two epsilons',
      'hugging-face-config',
      () => savePretrained(savable(v2), { layout: 'huggingFace' }),
    ],
    [
      'timm and one epsilon',
      'timm-config',
      () =>
        savePretrained(savable({ ...v2, eps: { block: 1e-6, patchEmbed: 1e-6, reduction: 1e-6 } }), {
          layout: 'timm',
        }),
    ],
    ['timm and v1', 'timm-config', () => savePretrained(savable(v1), { layout: 'timm' })],
    [
      'timm and ReLU',
      'timm-config',
      () => savePretrained(savable({ ...v2, activation: 'relu' }), { layout: 'timm' }),
    ],
    [
      'timm and a stretch without crop',
      'timm-config',
      () => savePretrained(savable(v2), { layout: 'timm', preprocessing: { rescale: 1 / 255 } }),
    ],
    [
      'transformers and images of any size',
      'hugging-face-config',
      () =>
        savePretrained(savable(v2), {
          layout: 'huggingFace',
          epsilon: 'layout',
          preprocessing: { resize: { to: { shortSide: 9 }, resampling: 'box' } },
        }),
    ],
    [
      'two labels for three classes',
      'timm-config',
      () => savePretrained(savable(v2), { layout: 'timm', labels: ['a', 'b'] }),
    ],
    [
      'parameters that are missing',
      'checkpoint-misfit',
      () => savePretrained({ config: v2, source: fromStateDict(new Map()) }, { layout: 'timm' }),
    ],
    [
      'tensors that would be lost',
      'convert-unexpected',
      () => convertCheckpoint({ ...savable(v2), unexpected: ['neck.weight'] }, { to: 'official' }),
    ],
  ])('says what cannot be saved: %s', (_what, code, act) => {
    expect(act).toThrow(expect.objectContaining({ code }));
  });

  it('drops what it is told to', () => {
    const bytes = convertCheckpoint(
      { ...savable(v2), unexpected: ['neck.weight'] },
      { to: 'official', unexpected: 'drop' },
    );
    expect(readCheckpoint(bytes).unexpected).toEqual([]);
  });
});

describe('preprocessing in files', () => {
  it.each<[string, Preprocessing]>([
    ['short side and crop', official],
    [
      'stretched',
      {
        resize: { to: { size: [96, 128] }, resampling: 'bilinear' },
        rescale: 1 / 255,
        normalize: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
      },
    ],
    ['nothing but numbers', { rescale: 1 / 128 }],
  ])('%s survive preprocessor_config.json', (_what, preprocessing) => {
    expect(fromPreprocessorConfig(toPreprocessorConfig(preprocessing))).toEqual(preprocessing);
  });

  it.each([224, 232, 235, 236, 240, 246, 248, 249, 250, 254, 256, 288, 299])(
    'a short side of %d survives crop_pct',
    (shortSide) => {
      const preprocessing: Preprocessing = { ...timm, resize: { to: { shortSide }, resampling: 'bicubic' } };
      const json = toTimmConfig(v2, preprocessing);
      expect(fromTimmConfig(json).preprocessing).toEqual(preprocessing);
      expect(Math.floor(224 / (json['pretrained_cfg'] as { crop_pct: number }).crop_pct)).toBe(shortSide);
    },
  );
});

describe('canonical to each naming and back', () => {
  const cases = listModels().flatMap((name) =>
    (['official', 'timm', 'huggingFace', 'canonical'] as const)
      .filter((naming) => naming !== 'timm' || getModel(name).config.version === 'v2')
      .map((naming) => [name, naming] as const),
  );
  // Widths cut to two a head, depths, heads and all else as published: every name and every split, without
  // the gigabytes.
  it.each(cases)('%s in %s names', (name, naming: Naming) => {
    const preset: PvtConfig = pvtConfig<PvtConfigInput>(getModel(name).config);
    const config = pvtConfig<PvtConfigInput>({
      ...preset,
      dims: preset.heads.map((heads) => 2 * heads),
      classes: 5,
    });
    const state = stateOf(config);
    const back = readCheckpoint(convertCheckpoint({ config, source: fromStateDict(state) }, { to: naming }), {
      config,
      naming,
    });
    expect(bitsOf(back.state)).toBe(bitsOf(state));
    expect(checkCompatibility(checkpointSpec(config), back)).toMatchObject({
      missing: [],
      unexpected: [],
      mismatched: [],
      nonFinite: [],
      adapted: [],
    });
  });
});

/** A folder of transformers in two shards. */
function sharded(): Map<string, Uint8Array> {
  const files = savePretrained(savable(v2), { layout: 'huggingFace', epsilon: 'layout', labels });
  const tensors = [...parseSafetensors(files.get('model.safetensors')!).tensors];
  const shards = {
    'model-00001-of-00002.safetensors': tensors.slice(0, 20),
    'model-00002-of-00002.safetensors': tensors.slice(20),
  };
  const weight_map = Object.fromEntries(
    Object.entries(shards).flatMap(([file, entries]) => entries.map(([name]) => [name, file])),
  );
  return new Map([
    ...[...files].filter(([name]) => name !== 'model.safetensors'),
    ...Object.entries(shards).map(([name, entries]) => [name, writeSafetensors(entries)] as const),
    ['model.safetensors.index.json', json({ metadata: { total_size: 1 }, weight_map })],
  ]);
}

describe('a checkpoint in several files', () => {
  it('is one checkpoint', async () => {
    const checkpoint = await openCheckpoint(distant(sharded()));
    expect(bitsOf(checkpoint.state)).toBe(bitsOf(stateOf(v2)));
    expect(checkpoint.labels).toEqual(labels);
  });

  it('names its files', () => {
    expect(
      new Set(parseShardIndex('index', sharded().get('model.safetensors.index.json')!).values()),
    ).toEqual(new Set(['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']));
  });

  const change = (name: string, content: Uint8Array | undefined): Map<string, Uint8Array> => {
    const files = sharded();
    files.delete(name);
    if (content !== undefined) files.set(name, content);
    return files;
  };
  const index = 'model.safetensors.index.json';
  const first = 'model-00001-of-00002.safetensors';
  it.each<[string, string, Map<string, Uint8Array>]>([
    ['a shard is missing', 'shard-missing', change(first, undefined)],
    ['a shard is cut off', 'safetensors-cut', change(first, sharded().get(first)!.subarray(0, -1))],
    ['a shard lacks tensors', 'shard-incomplete', change(first, writeSafetensors([]))],
    [
      'a shard has others',
      'shard-unexpected',
      change(first, writeSafetensors([['more', fromFloat32([1], [1])]])),
    ],
    [
      'the index climbs out',
      'shard-index',
      change(index, json({ weight_map: { a: '../model.safetensors' } })),
    ],
    ['the index is a list', 'shard-index', change(index, json([]))],
    ['the index is empty', 'shard-index', change(index, json({ weight_map: {} }))],
    [
      'the index names a tensor twice',
      'json-duplicate',
      change(index, new TextEncoder().encode('{"weight_map":{"a":"x","a":"y"}}')),
    ],
  ])('%s', async (_what, code, files) => {
    await expect(openCheckpoint(distant(files))).rejects.toThrow(expect.objectContaining({ code }));
  });

  it('says in which file something is wrong', async () => {
    await expect(
      openCheckpoint(distant(change(first, sharded().get(first)!.subarray(0, -1)))),
    ).rejects.toThrow(`${first}: safetensors: expected`);
  });
});

/** A state in the formats of torch, in official names. */
const officialState = fromCanonical(stateOf(v2), 'official', v2);
const torchState = new Map(
  Array.from(officialState, ([name, { shape, values }]) => [
    name,
    tensor(storage(name, values.length), shape),
  ]),
);
const torchStorages = Object.fromEntries(
  Array.from(officialState, ([name, { values }]) => [name, Array.from(values)]),
);

describe('a folder', () => {
  it('of torch weights and a config of timm', async () => {
    const cfg = {
      architecture: 'pvt_v2_b0',
      model_args: { embed_dims: v2.dims, depths: v2.depths },
      pretrained_cfg: {
        crop_pct: 0.875,
        mean: [0, 0, 0],
        std: [1, 1, 1],
        interpolation: 'bilinear',
        num_classes: 3,
      },
      label_names: ['n1', 'n2', 'n3'],
      label_descriptions: { n1: 'cat', n3: 'axolotl' },
    };
    const checkpoint = await openCheckpoint(
      distant(
        new Map([
          ['config.json', json(cfg)],
          ['pytorch_model.bin', torchZip(torchState, torchStorages)],
        ]),
      ),
    );
    expect(bitsOf(checkpoint.state)).toBe(bitsOf(stateOf(v2)));
    expect(checkpoint).toMatchObject({
      format: 'torch-zip',
      naming: 'official',
      labels: ['cat', 'n2', 'axolotl'],
    });
    expect(checkpoint.preprocessing).toEqual({
      resize: { to: { shortSide: 256 }, resampling: 'bilinear' },
      crop: [224, 224],
      rescale: 1 / 255,
      normalize: { mean: [0, 0, 0], std: [1, 1, 1] },
    });
    expect(checkpoint.config).toEqual({ ...v2, imageSize: [224, 224], dropPath: 0.1 });
  });

  it('of one file of any name', async () => {
    const checkpoint = await openCheckpoint(
      distant(new Map([['weights.bin', torchLegacy(torchState, torchStorages)]])),
    );
    expect(checkpoint.format).toBe('torch-legacy');
    expect(bitsOf(checkpoint.state)).toBe(bitsOf(stateOf(v2)));
    expect(checkpoint.assumed).toEqual(['heads', 'strides']);
  });

  it('is overruled by the caller', async () => {
    const files = distant(savePretrained(savable(v2), { layout: 'timm', labels }));
    expect(
      (
        await openCheckpoint(files, {
          config: { version: 'v2', dims: v2.dims, depths: v2.depths, dropPath: 0.5 },
        })
      ).config.dropPath,
    ).toBe(0.5);
    const other = await openCheckpoint(files, { classes: 9 });
    expect(other.config.classes).toBe(9);
    expect(other.labels).toBeUndefined();
  });

  it('keeps its class names where the classifier is dropped, for another head', async () => {
    const bare = await openCheckpoint(distant(savePretrained(savable(v2), { layout: 'timm', labels })), {
      classes: 0,
    });
    expect(bare).toMatchObject({ config: { classes: 0 }, labels });
  });
});

describe('state dicts and configs that are wrong', () => {
  const weights = savePretrained(savable(v2), { layout: 'timm' }).get('model.safetensors')!;
  const cfg = (content: unknown) =>
    new Map([
      ['config.json', content instanceof Uint8Array ? content : json(content)],
      ['model.safetensors', weights],
    ]);
  const named = (entries: readonly (readonly [string, readonly number[]])[]) =>
    new Map([
      [
        'model.safetensors',
        writeSafetensors(
          entries.map(([name, shape]) => [name, fromFloat32(new Float32Array(sizeOf(shape)), shape)]),
        ),
      ],
    ]);
  it.each<[string, string, Map<string, Uint8Array>, new (...args: never[]) => PvtError]>([
    [
      'no weights',
      'weights-missing',
      new Map([
        ['config.json', json({ model_type: 'pvt' })],
        ['README.md', json('')],
        ['vocab.txt', json('')],
      ]),
      CheckpointError,
    ],
    ['config.json of no library', 'config-unknown', cfg({ hello: 1 }), ConfigError],
    ['config.json of another model', 'hugging-face-config', cfg({ model_type: 'vit' }), ConfigError],
    ['config.json cut off', 'json-invalid', cfg(new TextEncoder().encode('{"model_type":')), ConfigError],
    ['config.json not UTF-8', 'json-invalid', cfg(Uint8Array.of(0x7b, 0xff)), ConfigError],
    [
      'config.json with a key twice',
      'json-duplicate',
      cfg(new TextEncoder().encode('{"model_type":"pvt","model_type":"vit"}')),
      ConfigError,
    ],
    [
      'config.json with holes in its labels',
      'hugging-face-config',
      cfg({ model_type: 'pvt_v2', id2label: { 0: 'a', 2: 'b' } }),
      ConfigError,
    ],
    [
      'config.json of widths and heads that cannot be',
      'config-invalid',
      cfg({ model_type: 'pvt_v2', hidden_sizes: [16, 32, 41, 64] }),
      ConfigError,
    ],
    ['an architecture that does not exist', 'model-unknown', cfg({ architecture: 'pvt_v2_b9' }), ConfigError],
    [
      'an architecture that timm does not have',
      'timm-config',
      cfg({ architecture: 'pvt_tiny' }),
      ConfigError,
    ],
    [
      'arguments that timm does not have',
      'timm-config',
      cfg({ architecture: 'pvt_v2_b0', model_args: { __proto__x: 1 } }),
      ConfigError,
    ],
    [
      'a crop_mode that we do not have',
      'timm-config',
      cfg({ architecture: 'pvt_v2_b0', pretrained_cfg: { crop_mode: 'border' } }),
      ConfigError,
    ],
    [
      'labels for other classes',
      'timm-config',
      cfg({ architecture: 'pvt_v2_b0', num_classes: 3, label_names: ['a'] }),
      ConfigError,
    ],
    ['a config of the other version', 'version-mismatch', cfg({ model_type: 'pvt' }), CheckpointError],
    [
      'tensors of another model',
      'naming-unknown',
      named([
        ['fc.weight', [1]],
        ['layer1.0.weight', [1]],
      ]),
      CheckpointError,
    ],
    ['a classifier alone', 'config-unclear', named([['head.weight', [3, 64]]]), CheckpointError],
    [
      'a parameter under two names',
      'names-collide',
      named([
        ['norm1.weight', [4]],
        ['module.norm1.weight', [4]],
      ]),
      CheckpointError,
    ],
    [
      'keys without values',
      'parts-mismatched',
      named([['pvt_v2.encoder.layers.0.blocks.0.attention.key.weight', [4, 4]]]),
      CheckpointError,
    ],
    [
      'a first convolution of rank two',
      'config-unclear',
      named([
        ['patch_embed1.proj.weight', [4, 4]],
        ['norm1.weight', [4]],
      ]),
      CheckpointError,
    ],
    [
      'position embeddings of no square',
      'config-unclear',
      named([
        ['patch_embed1.proj.weight', [4, 3, 4, 4]],
        ['pos_embed1', [1, 7, 4]],
        ['cls_token', [1, 1, 4]],
        ['block1.0.mlp.fc1.weight', [8, 4]],
      ]),
      CheckpointError,
    ],
  ])('%s', async (_what, code, files, type) => {
    const error = await openCheckpoint(distant(files)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(type);
    expect((error as PvtError).code).toBe(code);
    expect((error as PvtError).message.length).toBeLessThan(500);
  });

  const altered = (
    alter: (state: Map<string, { shape: readonly number[]; values: Float32Array }>) => void,
  ): Uint8Array => {
    const state = new Map(stateOf(v2));
    alter(state);
    return writeSafetensors(
      Array.from(fromCanonical(state, 'canonical', v2), ([name, { shape, values }]) => [
        name,
        fromFloat32(values, shape),
      ]),
    );
  };
  const bias = 'stages.1.norm.bias';

  it.each<[string, string, Uint8Array]>([
    [
      'a parameter is missing',
      'loaded 90 of 91 parameters\nmissing 1: stages.1.norm.bias',
      altered((state) => state.delete(bias)),
    ],
    [
      'a parameter has another shape',
      'loaded 90 of 91 parameters\nmismatched 1: stages.1.norm.bias expected [32] but found [31]',
      altered((state) => state.set(bias, { shape: [31], values: new Float32Array(31) })),
    ],
    [
      'a value is NaN',
      'loaded 91 of 91 parameters\nnot finite 1: stages.1.norm.bias',
      altered((state) => state.set(bias, { shape: [32], values: new Float32Array(32).fill(NaN, 31) })),
    ],
    [
      'a value is infinite',
      'loaded 91 of 91 parameters\nnot finite 1: stages.1.norm.bias',
      altered((state) =>
        state.set(bias, { shape: [32], values: new Float32Array(32).fill(-Infinity, 5, 6) }),
      ),
    ],
  ])('the report says so when %s', (_what, report, bytes) => {
    const checkpoint = readCheckpoint(bytes, { config: v2 });
    const total = Array.from(leavesOf(checkpointSpec(v2))).length;
    expect(renderCompatibility(checkCompatibility(checkpointSpec(v2), checkpoint))).toBe(
      report.replaceAll('91', `${total}`).replaceAll('90', `${total - 1}`),
    );
  });

  it('a model never starts from NaN', () => {
    const { source } = readCheckpoint(
      altered((state) => state.set(bias, { shape: [32], values: new Float32Array(32).fill(NaN, 31) })),
    );
    const leaf = checkpointSpec(v2).stages[1]!.norm!.bias;
    expect(() => source.values(bias, leaf)).toThrow(expect.objectContaining({ code: 'not-finite' }));
  });
});

describe('inspect', () => {
  it('tells what a checkpoint is', async () => {
    const training = new Map<string, Value>([
      ['model', torchState],
      ['optimizer', new Map()],
      ['epoch', 3],
    ]);
    const found = await inspect(fromBytes('checkpoint.pth', torchZip(training, torchStorages)));
    expect(found).toMatchObject({
      format: 'torch-zip',
      naming: 'official',
      version: 'v2',
      skipped: ['optimizer', 'epoch'],
      findings: [],
    });
    expect(found.tensors).toHaveLength(officialState.size);
    expect(found.tensors[0]).toEqual({
      name: 'patch_embed1.proj.weight',
      dtype: 'F32',
      shape: [16, 3, 7, 7],
    });
    expect(renderInspection(found)).toContain(
      'names     official, PVT v2\n' +
        'model     no published variant: widths 16, 32, 40, 64; depths 1, 2, 1, 1; 3 classes\n' +
        'assumed   heads, strides\n',
    );
    expect(renderInspection(found, { tensors: true })).toContain(
      'patch_embed1.proj.weight F32 [16, 3, 7, 7]',
    );
  });

  it('takes what the files beside the weights tell', async () => {
    const files = savePretrained(savable(v2), { layout: 'huggingFace', epsilon: 'layout' });
    const found = await inspect(distant(files));
    expect(found).toMatchObject({
      name: 'config.json, preprocessor_config.json, model.safetensors',
      naming: 'huggingFace',
      assumed: [],
      findings: [],
    });
    expect(found.size).toBe([...files.values()].reduce((sum, { length }) => sum + length, 0));
    expect(
      (
        await inspect(distant(new Map([...files, ['config.json', json({ model_type: 'vit' })]])))
      ).findings.map(({ message }) => message),
    ).toEqual([expect.stringContaining('model_type')]);
  });

  it('tells what is wrong with it', async () => {
    const codes = async (bytes: Uint8Array) =>
      (await inspect(fromBytes('it', bytes))).findings.map(({ code }) => code);
    expect(await codes(new Uint8Array(0))).toEqual(['file-empty']);
    expect(await codes(writeSafetensors([['fc.weight', fromFloat32([1], [1])]]))).toEqual(['naming-unknown']);
    const state = new Map(stateOf(v2));
    state.delete('stages.0.norm.bias');
    state.set('stages.0.norm.weight', { shape: [16], values: new Float32Array(16).fill(NaN) });
    const named = [
      ...fromCanonical(state, 'official', v2),
      ['extra\x1b[2J', { shape: [1], values: Float32Array.of(0) }] as const,
    ];
    const found = await inspect(
      fromBytes(
        'it',
        writeSafetensors(named.map(([name, { shape, values }]) => [name, fromFloat32(values, shape)])),
      ),
    );
    expect(found.findings.map(({ code }) => code)).toEqual(['missing', 'unexpected', 'not-finite']);
    expect(renderInspection(found)).not.toContain('\x1b');
  });
});
