import { leavesOf, pvtConfig, randomInit, sizeOf, type PvtConfig, type PvtConfigInput } from '@pvt/core';
import { describe, expect, it } from 'vitest';
import {
  checkCompatibility,
  checkpointSpec,
  fromCanonical,
  fromFloat32,
  getModel,
  readCheckpoint,
  renderCompatibility,
  writeSafetensors,
  type Dtype,
  type Naming,
} from './index.ts';

const shared = { dims: [16, 32, 40, 64], depths: [1, 2, 1, 1], imageSize: [64, 64], classes: 10 } as const;
const v1 = pvtConfig({ version: 'v1', ...shared });
const v2 = pvtConfig({ version: 'v2', ...shared });
const linear = pvtConfig({ version: 'v2', linear: true, ...shared });
const everywhere = { block: 1e-6, patchEmbed: 1e-6, reduction: 1e-6 };

/** A checkpoint of a config as an implementation would save it; every value is its own position. */
function saved(
  config: PvtConfig,
  naming: Naming,
  { dtype = 'F32', prefix = '' }: { dtype?: Dtype; prefix?: string } = {},
): Uint8Array {
  const state = new Map(
    Array.from(leavesOf(checkpointSpec(config)), ([path, { shape }]) => [
      path,
      { shape, values: Float32Array.from({ length: sizeOf(shape) }, (_, i) => i % 1024) },
    ]),
  );
  const named = fromCanonical(state, naming, config);
  return writeSafetensors(
    Array.from(named, ([name, { shape, values }]) => [`${prefix}${name}`, fromFloat32(values, shape, dtype)]),
    { made: 'here' },
  );
}

const compatibilityOf = (
  config: PvtConfig,
  bytes: Uint8Array,
  options?: Parameters<typeof readCheckpoint>[1],
) => {
  const checkpoint = readCheckpoint(bytes, options);
  return { checkpoint, report: checkCompatibility(checkpointSpec(config), checkpoint) };
};
const clean = { adapted: [], missing: [], unexpected: [], mismatched: [] };

describe('a config read off names and shapes', () => {
  it.each([
    ['v1', v1, 'official', v1.eps],
    ['v1', v1, 'huggingFace', everywhere],
    ['v2', { ...v2, imageSize: [224, 224] }, 'official', v2.eps],
    ['v2', { ...v2, imageSize: [224, 224] }, 'timm', v2.eps],
    ['v2', { ...v2, imageSize: [224, 224] }, 'huggingFace', everywhere],
    ['v2 linear', { ...linear, imageSize: [224, 224] }, 'official', linear.eps],
    ['v2 linear', { ...linear, imageSize: [224, 224] }, 'canonical', linear.eps],
  ] as const)('%s saved by %3$s', (_what, config, naming, eps) => {
    const { checkpoint, report } = compatibilityOf(config, saved(config, naming));
    expect(checkpoint.config).toEqual({ ...config, eps });
    expect(checkpoint).toMatchObject({
      naming,
      unexpected: [],
      assumed: expect.arrayContaining(['heads', 'strides']),
    });
    expect(checkpoint.metadata.get('made')).toBe('here');
    expect(report).toMatchObject(clean);
  });

  it.each(['official', 'timm', 'huggingFace'] as const)(
    'knows the variant and its %s preprocessing',
    (naming) => {
      const { config, preprocessing } = getModel('pvt_v2_b0');
      const complete: PvtConfig = pvtConfig<PvtConfigInput>({ ...config, classes: 3 });
      const checkpoint = readCheckpoint(saved(complete, naming, { dtype: 'F16' }));
      expect(checkpoint).toMatchObject({
        model: 'pvt_v2_b0',
        assumed: [],
        preprocessing: preprocessing[naming],
      });
      expect(checkpoint.config).toEqual({
        ...complete,
        eps: naming === 'huggingFace' ? everywhere : complete.eps,
      });
    },
  );

  it('does not guess heads that cannot be', () => {
    const config = pvtConfig({ version: 'v2', ...shared, dims: [16, 32, 64, 128], heads: [1, 2, 4, 8] });
    const bytes = saved(config, 'official');
    expect(() => readCheckpoint(bytes)).toThrow(expect.objectContaining({ code: 'config-unclear' }));
    expect(
      readCheckpoint(bytes, {
        config: { version: 'v2', dims: config.dims, depths: config.depths, heads: config.heads },
      }).config,
    ).toEqual({ ...config, imageSize: [224, 224] });
  });

  it('reads a backbone inside a detector, without a classifier', () => {
    const headless = { ...v1, classToken: false, classes: 0 };
    const { checkpoint, report } = compatibilityOf(
      headless,
      saved(headless, 'official', { prefix: 'backbone.' }),
    );
    expect(checkpoint.config).toEqual(headless);
    expect(report).toMatchObject(clean);
  });
});

describe('a config that is given', () => {
  it('takes classes, channels and image size from the file where only the variant is named', () => {
    const config = pvtConfig<PvtConfigInput>({
      ...getModel('pvt_tiny').config,
      depths: [2, 2, 2, 2],
      classes: 7,
      imageSize: [128, 128],
      channels: 1,
    });
    const { checkpoint, report } = compatibilityOf(config, saved(config, 'official', { dtype: 'BF16' }), {
      config: 'pvt_tiny',
    });
    expect(checkpoint.config).toEqual(config);
    expect(report).toMatchObject(clean);
  });

  it('says what does not fit', () => {
    const { report } = compatibilityOf({ ...v2, depths: [1, 1, 1, 2] }, saved(v2, 'official'), {
      config: { ...v2, depths: [1, 1, 1, 2] },
    });
    expect(report.missing).toContain('stages.3.blocks.1.attn.kv.weight');
    expect(report.unexpected).toContain('stages.1.blocks.1.attn.kv.weight');
    expect(report.missing.length).toBe(16);
    expect(report.unexpected.length).toBe(20);
    const other = compatibilityOf({ ...v2, classes: 5 }, saved(v2, 'official')).report;
    expect(other.mismatched).toEqual([
      { path: 'head.weight', expected: [5, 64], found: [10, 64] },
      { path: 'head.bias', expected: [5], found: [10] },
    ]);
    const total = other.loaded.length + 2;
    expect(renderCompatibility(other)).toBe(
      `loaded ${total - 2} of ${total} parameters\n` +
        'mismatched 2: head.weight expected [5, 64] but found [10, 64], ' +
        'head.bias expected [5] but found [10]',
    );
  });

  it('must be of the same version', () => {
    expect(() => readCheckpoint(saved(v2, 'official'), { config: 'pvt_tiny' })).toThrow(
      expect.objectContaining({ code: 'version-mismatch' }),
    );
  });
});

describe('another task', () => {
  it('gets a new classifier and an adapted first convolution', () => {
    const { checkpoint, report } = compatibilityOf({ ...v2, classes: 3, channels: 1 }, saved(v2, 'timm'), {
      classes: 3,
      channels: 1,
      seed: 4,
    });
    expect(checkpoint.config).toMatchObject({ classes: 3, channels: 1 });
    expect(report).toMatchObject({
      ...clean,
      adapted: ['stages.0.patch_embed.proj.weight', 'head.weight', 'head.bias'],
    });
    const head = checkpointSpec(checkpoint.config).head!.weight;
    expect(checkpoint.source.values('head.weight', head)).toEqual(randomInit(4).values('head.weight', head));
  });

  it('drops the classifier', () => {
    const { checkpoint, report } = compatibilityOf({ ...v2, classes: 0 }, saved(v2, 'huggingFace'), {
      classes: 0,
    });
    expect(checkpoint.config.classes).toBe(0);
    expect(report).toMatchObject(clean);
  });
});

it('reads float32 without copying it', () => {
  const bytes = saved(v2, 'official');
  const { state } = readCheckpoint(bytes.buffer as ArrayBuffer);
  expect(state.get('stages.0.blocks.0.attn.q.weight')!.values.buffer).toBe(bytes.buffer);
});

it('refuses another model', () => {
  expect(() => readCheckpoint(writeSafetensors([['fc.weight', fromFloat32([1], [1])]]))).toThrow(
    expect.objectContaining({ code: 'naming-unknown' }),
  );
  expect(() => readCheckpoint(writeSafetensors([['head.weight', fromFloat32([1], [1])]]))).toThrow(
    expect.objectContaining({ code: 'config-unclear' }),
  );
});
