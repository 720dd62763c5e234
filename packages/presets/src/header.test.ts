import { describe, expect, it } from 'vitest';
import { readHeader, writeHeader, type HeaderMetadata } from './header.ts';

const preprocessing = {
  resize: { to: { shortSide: 64 }, resampling: 'bilinear' },
  crop: [64, 64],
  rescale: 1 / 255,
  normalize: { mean: [0.5, 0.25, 0], std: [1, 0.5, 0.25] },
} as const;
const input = {
  size: { shortSide: 240, longSide: 320, multiple: 32 },
  normalize: preprocessing.normalize,
  resize: 'pillow',
} as const;

const mapOf = (entries: Readonly<Record<string, string>>) => new Map(Object.entries(entries));

describe('writeHeader', () => {
  it('writes each entry as JSON, the size of an input among its other fields', () => {
    expect(writeHeader({ labels: ['a', 'b'], input, anchorScale: 2 })).toEqual({
      labels: '["a","b"]',
      input:
        '{"shortSide":240,"longSide":320,"multiple":32,' +
        '"normalize":{"mean":[0.5,0.25,0],"std":[1,0.5,0.25]},"resize":"pillow"}',
      anchorScale: '2',
    });
  });

  it.each<HeaderMetadata>([
    {},
    { labels: [] },
    { labels: ['cat', 'dog'], preprocessing },
    { preprocessing: { resize: { to: { size: [48, 64] }, resampling: 'hamming' } } },
    { input, anchorScale: 2.5 },
    { input: { size: {}, resize: 'opencv' } },
  ])('is what readHeader reads: %j', (header) => {
    expect(readHeader(mapOf(writeHeader(header)))).toEqual(header);
  });
});

describe('readHeader', () => {
  it('leaves the entries of others alone', () => {
    expect(readHeader(mapOf({ format: 'pt', made: '{' }))).toEqual({});
  });

  it('takes an input without a resize for one of our own, from before the field was written', () => {
    expect(readHeader(mapOf({ input: '{"shortSide":240}' }))).toEqual({
      input: { size: { shortSide: 240 }, resize: 'pillow' },
    });
  });

  it.each([
    ['labels', 'cat,dog'],
    ['labels', '[1,2]'],
    ['labels', 'null'],
    ['preprocessing', '[]'],
    ['preprocessing', '{"resize":{"to":{"shortSide":64},"resampling":"best"}}'],
    ['preprocessing', '{"resize":{"to":{},"resampling":"bilinear"}}'],
    ['preprocessing', '{"crop":[64]}'],
    ['preprocessing', '{"rescale":"1/255"}'],
    ['preprocessing', '{"normalize":{"mean":[0,0],"std":[1,1]}}'],
    ['input', '{"shortSide":240'],
    ['input', '[240]'],
    ['input', '{"shortSide":0}'],
    ['input', '{"multiple":"32"}'],
    ['input', '{"normalize":{"mean":[0,0,0]}}'],
    ['input', '{"shortSide":240,"padding":1}'],
    ['input', '{"__proto__":1}'],
    ['anchorScale', '-1'],
    ['anchorScale', '"2"'],
  ])('refuses %s = %s', (key, text) => {
    expect(() => readHeader(mapOf({ [key]: text }))).toThrow(
      expect.objectContaining({
        code: 'header-invalid',
        message: expect.stringContaining(`under ${key} in`),
      }),
    );
  });
});
