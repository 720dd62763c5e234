import { CheckpointError } from '@pvt/core';
import { describe, expect, it } from 'vitest';
import {
  fromFloat32,
  parseSafetensors,
  parseSafetensorsHeader,
  safetensorsHeaderEnd,
  toFloat32,
  writeSafetensors,
} from './safetensors.ts';

/** A file with this header text and as many bytes of data. */
function file(header: string | Uint8Array, data = 0, length?: bigint): Uint8Array {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + data);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}
const entry = (shape: string, offsets: string, dtype = '"F32"') =>
  `{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}`;
const one = (shape: string, offsets: string, dtype?: string) => `{"a":${entry(shape, offsets, dtype)}}`;
const two = (first: string, second: string) => `{"a":${entry('[1]', first)},"b":${entry('[1]', second)}}`;

const malformed: [what: string, code: string, bytes: Uint8Array][] = [
  ['empty', 'empty', new Uint8Array(0)],
  ['under 8 bytes', 'short', new Uint8Array(7)],
  ['header length 0', 'header-missing', file('')],
  ['header beyond the file', 'header-cut', file('{}', 0, 3n)],
  ['header over 100 MB', 'header-long', file('{}', 0, 100_000_001n)],
  ['header of 2^63', 'header-unsafe', file('{}', 0, 2n ** 63n)],
  ['not UTF-8', 'not-utf8', file(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d))],
  ['a byte order mark', 'not-json', file(Uint8Array.of(0xef, 0xbb, 0xbf, 0x7b, 0x7d))],
  ['not JSON', 'not-json', file('{"a":}')],
  ['JSON and more', 'not-json', file('{} {}')],
  ['a web page', 'header-unsafe', new TextEncoder().encode('<!DOCTYPE html><html></html>')],
  ['a comma too many', 'not-json', file(`{"a":${entry('[1]', '[0,4]')},}`, 4)],
  ['a number that JSON does not have', 'not-json', file(one('[01]', '[0,4]'), 4)],
  ['an escape that JSON does not have', 'not-json', file('{"\\x":1}')],
  ['an open string', 'not-json', file('{"a')],
  ['top-level array', 'header-not-object', file('[]')],
  ['top-level number', 'header-not-object', file('1')],
  ['deep nesting', 'too-deep', file('['.repeat(100_000))],
  ['duplicate key', 'duplicate-key', file(`{"a":${entry('[1]', '[0,4]')},"a":${entry('[1]', '[0,4]')}}`, 4)],
  [
    'duplicate key, one of them escaped',
    'duplicate-key',
    file(`{"a":${entry('[1]', '[0,4]')},"\\u0061":${entry('[1]', '[0,4]')}}`, 4),
  ],
  [
    'duplicate field',
    'duplicate-key',
    file('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
  ],
  ['__proto__', 'name-forbidden', file(`{"__proto__":${entry('[1]', '[0,4]')}}`, 4)],
  ['__proto__ in metadata', 'name-forbidden', file('{"__metadata__":{"__proto__":"x"}}')],
  ['metadata that is a list', 'metadata-invalid', file('{"__metadata__":[]}')],
  ['metadata that is no string', 'metadata-invalid', file('{"__metadata__":{"a":1}}')],
  ['an entry that is a number', 'entry-invalid', file('{"a":1}')],
  ['an entry without shape', 'entry-invalid', file('{"a":{"dtype":"F32","data_offsets":[0,4]}}', 4)],
  ['unknown dtype', 'dtype-unknown', file(one('[1]', '[0,4]', '"F31"'), 4)],
  ['a dtype out of the prototype', 'dtype-unknown', file(one('[1]', '[0,4]', '"constructor"'), 4)],
  ['a dtype that is a number', 'dtype-unknown', file(one('[1]', '[0,4]', '32'), 4)],
  ['a shape that is a number', 'shape-invalid', file(one('1', '[0,4]'), 4)],
  ['a side that is a string', 'dimension-invalid', file(one('["1"]', '[0,4]'), 4)],
  ['negative side', 'dimension-negative', file(one('[-1]', '[0,4]'), 4)],
  ['fractional side', 'dimension-fractional', file(one('[1.5]', '[0,6]'), 6)],
  ['unsafe side', 'dimension-unsafe', file(one('[9007199254740992]', '[0,4]'), 4)],
  ['infinite side', 'dimension-unsafe', file(one('[1e999]', '[0,4]'), 4)],
  ['product overflow', 'size-overflow', file(one('[4294967296,4294967296]', '[0,4]'), 4)],
  ['shape against bytes', 'size-mismatch', file(one('[2]', '[0,4]'), 4)],
  ['three offsets', 'offsets-invalid', file(one('[1]', '[0,4,8]'), 4)],
  ['negative offset', 'offset-negative', file(one('[1]', '[-4,0]'), 4)],
  ['fractional offset', 'offset-fractional', file(one('[1]', '[0.5,4.5]'), 8)],
  ['unsafe offset', 'offset-unsafe', file(one('[1]', '[0,1e300]'), 4)],
  ['inverted offsets', 'offsets-inverted', file(one('[1]', '[4,0]'), 4)],
  ['overlapping tensors', 'overlap', file(two('[0,4]', '[2,6]'), 6)],
  ['the same bytes twice', 'overlap', file(two('[0,4]', '[0,4]'), 4)],
  ['a hole in front', 'hole', file(one('[1]', '[4,8]'), 8)],
  ['a hole between', 'hole', file(two('[0,4]', '[8,12]'), 12)],
  ['trailing bytes', 'trailing', file(one('[1]', '[0,4]'), 5)],
  ['cut off', 'cut', file(one('[1]', '[0,4]'), 3)],
  ['a million tensors', 'too-many', file(`{${Array.from({ length: 1_000_000 }, (_, i) => `"${i}":0`)}}`)],
];

describe('a broken file', () => {
  it.each(malformed)('%s', (_what, code, bytes) => {
    const error = (() => {
      try {
        return parseSafetensors(bytes);
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as CheckpointError).code).toBe(`safetensors-${code}`);
    expect((error as CheckpointError).message.length).toBeLessThan(400);
  });
});

describe('an unusual but whole file', () => {
  it('with an unaligned header', () => {
    const bytes = file(one('[2]', '[0,8]'), 8);
    const at = bytes.length - 8;
    expect(at % 4).not.toBe(0);
    new DataView(bytes.buffer).setFloat32(at + 4, -2.5, true);
    expect(Array.from(toFloat32(parseSafetensors(bytes).tensors.get('a')!))).toEqual([0, -2.5]);
  });

  it('with a scalar', () => {
    const { shape, bytes } = parseSafetensors(file(one('[]', '[0,4]'), 4)).tensors.get('a')!;
    expect([shape, bytes.length]).toEqual([[], 4]);
  });

  it('with tensors of no values', () => {
    const { tensors } = parseSafetensors(
      file(`{"a":${entry('[0,3]', '[0,0]')},"b":${entry('[1]', '[0,4]')},"c":${entry('[0]', '[4,4]')}}`, 4),
    );
    expect([...tensors.values()].map(({ bytes }) => bytes.length)).toEqual([0, 4, 0]);
  });

  it('with blanks around the header and no tensor', () => {
    expect(parseSafetensors(file('  { }   ')).tensors.size).toBe(0);
  });
});

describe('writeSafetensors', () => {
  const entries = [
    ['half', fromFloat32([1, -2, 65504], [3], 'F16')],
    ['whole', fromFloat32([3, -4], [2, 1], 'I64')],
    ['none', fromFloat32([], [0, 5])],
    ['Grüße "\\', fromFloat32([0.1], [], 'F32')],
  ] as const;

  it('writes what parseSafetensors reads, with each tensor aligned to its dtype', () => {
    const bytes = writeSafetensors(entries, { labels: 'cat,dog', quoted: '"\n' });
    const { tensors, metadata } = parseSafetensors(bytes);
    expect([...metadata]).toEqual([
      ['labels', 'cat,dog'],
      ['quoted', '"\n'],
    ]);
    expect([...tensors.keys()].sort()).toEqual(['Grüße "\\', 'half', 'none', 'whole']);
    for (const [name, { dtype, shape, bytes: stored }] of entries)
      expect(tensors.get(name)).toEqual({ dtype, shape, bytes: stored });
    const ranges = parseSafetensorsHeader(bytes).tensors;
    expect([...ranges.values()].map(({ range }) => range[0] % 8)).toEqual([0, 0, 0, 4]);
    expect(Array.from(toFloat32(tensors.get('half')!))).toEqual([1, -2, 65504]);
  });

  it('writes the bytes that the format prescribes', () => {
    const bytes = writeSafetensors([['a', fromFloat32([1], [1])]]);
    const header = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  ';
    expect(Array.from(bytes)).toEqual([
      header.length,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      ...new TextEncoder().encode(header),
      0,
      0,
      0x80,
      0x3f,
    ]);
  });

  it('keeps the order of names that look like numbers', () => {
    const bytes = writeSafetensors([
      ['2', fromFloat32([2], [1])],
      ['1', fromFloat32([1], [1])],
    ]);
    expect(toFloat32(parseSafetensors(bytes).tensors.get('2')!)[0]).toBe(2);
  });

  it.each([['__proto__'], ['__metadata__']])('refuses the name %s', (name) => {
    expect(() => writeSafetensors([[name, fromFloat32([1], [1])]])).toThrow(
      expect.objectContaining({ code: 'safetensors-name-forbidden' }),
    );
  });

  it('refuses bytes that are not what the shape says', () => {
    expect(() => writeSafetensors([['a', fromFloat32([1], [2])]])).toThrow(
      expect.objectContaining({ code: 'safetensors-size-mismatch' }),
    );
  });
});

it('reads a header by ranges', () => {
  const bytes = writeSafetensors([['a', fromFloat32([1, 2], [2])]], { from: 'here' });
  const end = safetensorsHeaderEnd(bytes.subarray(0, 8), bytes.length);
  const { tensors, metadata } = parseSafetensorsHeader(bytes.slice(0, end), bytes.length);
  expect(tensors.get('a')).toEqual({ dtype: 'F32', shape: [2], range: [end, end + 8] });
  expect(metadata.get('from')).toBe('here');
  expect(() => parseSafetensorsHeader(bytes.slice(0, end - 1), bytes.length)).toThrow(
    expect.objectContaining({ code: 'safetensors-header-incomplete' }),
  );
});
