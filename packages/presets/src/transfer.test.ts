import {
  fromStateDict,
  leavesOf,
  linearSpec,
  pvtConfig,
  pvtSpec,
  randomInit,
  type StateDict,
} from '@pvt/core';
import { describe, expect, it } from 'vitest';
import { checkCompatibility } from './compatibility.ts';
import { adaptInputConv, withInputChannels, withNewClassifier } from './transfer.ts';

const weight = (inputs: number) => ({
  shape: [2, inputs, 1, 2],
  values: Float32Array.from({ length: 4 * inputs }, (_, i) => i + 1),
});

// Expected values are the rules of timm's adapt_input_conv worked out by hand.
describe('adaptInputConv', () => {
  it('sums three channels into one', () => {
    expect(adaptInputConv(weight(3), 1)).toEqual({
      shape: [2, 1, 1, 2],
      values: Float32Array.of(1 + 3 + 5, 2 + 4 + 6, 7 + 9 + 11, 8 + 10 + 12),
    });
  });

  it('sums two channels into one', () => {
    expect(adaptInputConv(weight(2), 1)).toEqual({
      shape: [2, 1, 1, 2],
      values: Float32Array.of(1 + 3, 2 + 4, 5 + 7, 6 + 8),
    });
  });

  it('sums each run of three in a space-to-depth stem', () => {
    expect(adaptInputConv(weight(6), 1)).toEqual({
      shape: [2, 2, 1, 2],
      values: Float32Array.of(9, 12, 27, 30, 45, 48, 63, 66),
    });
  });

  it('repeats three channels and scales by 3/N', () => {
    expect(adaptInputConv(weight(3), 4)).toEqual({
      shape: [2, 4, 1, 2],
      values: Float32Array.from([1, 2, 3, 4, 5, 6, 1, 2, 7, 8, 9, 10, 11, 12, 7, 8], (x) => x * 0.75),
    });
    expect(Array.from(adaptInputConv(weight(3), 2).values)).toEqual(
      [1, 2, 3, 4, 7, 8, 9, 10].map((x) => x * 1.5),
    );
  });

  it('keeps weights for three channels', () => {
    const { shape, values } = weight(3);
    expect(adaptInputConv({ shape, values }, 3).values).toBe(values);
  });

  it.each([
    [4, 1],
    [4, 5],
  ])('refuses %d inputs for %d', (inputs, channels) => {
    expect(() => adaptInputConv(weight(inputs), channels)).toThrow(
      expect.objectContaining({ code: 'input-channels' }),
    );
  });
});

describe('sources', () => {
  const path = 'stages.0.patch_embed.proj.weight';
  const config = pvtConfig({
    version: 'v2',
    dims: [8, 8, 8, 8],
    depths: [1, 1, 1, 1],
    heads: [1, 1, 1, 1],
    classes: 0,
  });
  /** A checkpoint of a model with as many channels, and how it fits one with others. */
  const adapt = (from: number, to: number) => {
    const random = randomInit(5);
    const state: StateDict = new Map(
      Array.from(leavesOf(pvtSpec({ ...config, channels: from })), ([name, leaf]) => [
        name,
        { shape: leaf.shape, values: random.values(name, leaf) },
      ]),
    );
    const source = withInputChannels(fromStateDict(state));
    const leaf = pvtSpec({ ...config, channels: to }).stages[0]!.patch_embed.proj.weight;
    return {
      ...checkCompatibility(pvtSpec({ ...config, channels: to }), { source, state, unexpected: [] }),
      size: () => source.values(path, leaf).length,
    };
  };

  it.each([1, 2, 7])('make a model of %d channels from one of three', (channels) => {
    const { adapted, missing, mismatched, size } = adapt(3, channels);
    expect({ adapted, missing, mismatched }).toEqual({ adapted: [path], missing: [], mismatched: [] });
    expect(size()).toBe(8 * channels * 7 * 7);
  });

  it('leave weights alone that fit', () => {
    expect([...adapt(3, 3).adapted, ...adapt(4, 4).adapted]).toEqual([]);
    expect(adapt(4, 4).size()).toBe(8 * 4 * 7 * 7);
  });

  it.each([
    [4, 5],
    [4, 3],
    [4, 1],
  ])('leave it to the model to say that %d channels do not become %d', (from, to) => {
    expect(adapt(from, to).mismatched).toEqual([{ path, expected: [8, to, 7, 7], found: [8, from, 7, 7] }]);
  });

  it('start a new classifier and keep the rest', () => {
    const old = fromStateDict(
      new Map([
        ['head.weight', { shape: [10, 8], values: new Float32Array(80) }],
        ['neck.weight', { shape: [1], values: Float32Array.of(4) }],
      ]),
    );
    const source = withNewClassifier(old, 9);
    const leaf = linearSpec(8, 3).weight;
    expect(source.shape('head.weight', leaf)).toEqual([3, 8]);
    expect(source.values('head.weight', leaf)).toEqual(randomInit(9).values('head.weight', leaf));
    expect(Array.from(source.values('neck.weight', leaf))).toEqual([4]);
  });
});
