import * as tf from '@tensorflow/tfjs-core';
import { expectClose, expectNoLeak, useBackend } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { CheckpointError } from '../errors.ts';
import { convolutionSpec, depthwiseSpec } from '../layers/convolution.ts';
import { linearSpec } from '../layers/linear.ts';
import { normSpec } from '../layers/norm.ts';
import { toCheckpointLayout, toTensorLayout } from './layout.ts';
import { materialize, stateDict } from './materialize.ts';
import { fromStateDict, randomInit, scoped } from './source.ts';
import { countParams, leavesOf } from './spec.ts';

beforeAll(() => useBackend('cpu'));

const spec = {
  stem: convolutionSpec(3, 4, 2),
  blocks: [{ fc: linearSpec(4, 6) }, { fc: linearSpec(4, 6, { bias: false }), dw: depthwiseSpec(4, 3) }],
  norm: normSpec(4),
};

describe('spec', () => {
  it('names parameters by their keys', () => {
    expect([...leavesOf(spec)].map(([path, { shape }]) => `${path} ${shape}`)).toEqual([
      'stem.weight 4,3,2,2',
      'stem.bias 4',
      'blocks.0.fc.weight 6,4',
      'blocks.0.fc.bias 6',
      'blocks.1.fc.weight 6,4',
      'blocks.1.dw.weight 4,1,3,3',
      'blocks.1.dw.bias 4',
      'norm.weight 4',
      'norm.bias 4',
    ]);
    expect(countParams(spec)).toBe(48 + 4 + 24 + 6 + 24 + 36 + 4 + 4 + 4);
  });
});

describe('layout', () => {
  it('moves axes as the convolutions of tfjs want them', () => {
    const values = Float32Array.from({ length: 24 }, (_, i) => i);
    expect(toTensorLayout({ shape: [2, 3], values: values.subarray(0, 6) }, 'linear')).toEqual({
      shape: [3, 2],
      values: Float32Array.of(0, 3, 1, 4, 2, 5),
    });
    const kernel = toTensorLayout({ shape: [2, 3, 1, 4], values }, 'convolution');
    expect(kernel.shape).toEqual([1, 4, 3, 2]);
    // (out 1, in 2, row 0, column 3) is the last value, and stays the last.
    expect(kernel.values.at(-1)).toBe(23);
    // (row 0, column 1, in 0, out 1) comes from (1, 0, 0, 1) = 13.
    expect(kernel.values[1 * 6 + 0 * 2 + 1]).toBe(13);
  });

  it.each([
    ['plain', [19, 12]],
    ['linear', [19, 12]],
    ['convolution', [19, 3, 2, 2]],
    ['depthwise', [57, 1, 2, 2]],
  ] as const)('%s has an inverse', (layout, shape) => {
    const entry = { shape, values: Float32Array.from({ length: 228 }, (_, i) => i) };
    expect(toCheckpointLayout(toTensorLayout(entry, layout), layout)).toEqual(entry);
  });
});

describe('materialize', () => {
  it('allocates nothing for a source that does not fit, and lists all that is wrong', () => {
    const state = new Map([
      ['stem.weight', { shape: [4, 3, 2, 2], values: new Float32Array(48) }],
      ['stem.bias', { shape: [5], values: new Float32Array(5) }],
    ]);
    const before = tf.memory().numTensors;
    const act = () => materialize(spec, fromStateDict(state), 'test model');
    const missing = 'missing blocks.0.fc.weight, blocks.0.fc.bias, blocks.1.fc.weight and 4 more';
    expect(act).toThrow(/^test model: expected /);
    expect(act).toThrow(`${missing}; stem.bias expected [4] but found [5]`);
    try {
      act();
    } catch (error) {
      expect(error).toBeInstanceOf(CheckpointError);
      expect((error as CheckpointError).missing).toHaveLength(7);
      expect((error as CheckpointError).mismatched).toEqual([
        { path: 'stem.bias', expected: [4], found: [5] },
      ]);
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  it('frees what it has when a source fails halfway', () => {
    const random = randomInit(1);
    const before = tf.memory().numTensors;
    const failing = {
      ...random,
      values: (path: string, leaf: Parameters<typeof random.values>[1]) => {
        if (path === 'norm.weight') throw new Error('disk on fire');
        return random.values(path, leaf);
      },
    };
    expect(() => materialize(spec, failing, 'test model')).toThrow('disk on fire');
    expect(tf.memory().numTensors).toBe(before);
  });

  it('comes back as the same state', async () => {
    await expectNoLeak(async () => {
      const params = materialize(spec, randomInit(3), 'test model');
      const state = await stateDict({ spec, params });
      for (const [path, leaf] of leavesOf(spec)) {
        expect(state.get(path)).toEqual({ shape: leaf.shape, values: randomInit(3).values(path, leaf) });
      }
      // The container type of tfjs has no optional tensors, although tf.dispose skips them.
      tf.dispose(params as unknown as tf.TensorContainer);
    });
  });
});

describe('randomInit', () => {
  const leaf = (init: Parameters<ReturnType<typeof randomInit>['values']>[1]['init']) =>
    ({ shape: [20_000], layout: 'plain', init }) as const;
  const moments = (values: Float32Array) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return {
      mean,
      std: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length),
    };
  };

  it('gives each parameter its own stream, the same for the same seed', () => {
    const normal = leaf({ kind: 'normal', std: 1 });
    expect(randomInit(1).values('a', normal)).toEqual(randomInit(1).values('a', normal));
    expect(randomInit(1).values('a', normal)).not.toEqual(randomInit(1).values('b', normal));
    expect(randomInit(1).values('a', normal)).not.toEqual(randomInit(2).values('a', normal));
    expect(scoped(randomInit(1), 'x').values('a', normal)).toEqual(randomInit(1).values('x.a', normal));
  });

  it('has the moments it states (five standard errors)', async () => {
    const normal = moments(randomInit(1).values('n', leaf({ kind: 'normal', std: 0.5 })));
    await expectClose([normal.mean, normal.std], [0, 0.5], (5 * 0.5) / Math.sqrt(20_000));
    const uniform = moments(randomInit(1).values('u', leaf({ kind: 'uniform', bound: 0.3 })));
    await expectClose([uniform.mean, uniform.std], [0, 0.3 / Math.sqrt(3)], (5 * 0.3) / Math.sqrt(20_000));
  });

  it('cuts the truncated normal at 2', () => {
    const wide = randomInit(1).values('t', leaf({ kind: 'truncatedNormal', std: 5 }));
    expect(wide.every((value) => Math.abs(value) <= 2)).toBe(true);
  });
});
