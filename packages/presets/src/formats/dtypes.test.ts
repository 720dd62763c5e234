import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { decode, encode, type Dtype } from './dtypes.ts';

const sha256 = (data: ArrayBufferView) =>
  createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');
const codes = (dtype: Dtype, ...values: number[]) =>
  Array.from(new Uint16Array(encode(values, dtype).buffer));
const bytes = (dtype: Dtype, ...values: number[]) => Array.from(encode(values, dtype));

/** Every 16-bit code once. */
const all16 = () => new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
/** A million float32 bit patterns, spread over all signs, exponents and mantissas. */
const floats = () =>
  new Float32Array(Uint32Array.from({ length: 2 ** 20 }, (_, i) => (i * 4099) % 2 ** 32).buffer);

describe('16-bit floats', () => {
  it('decodes all 65536 halfs to what numpy has (NaN as 0 in both)', () => {
    const values = decode(all16(), 'F16').map((value) => (Number.isNaN(value) ? 0 : value));
    expect(sha256(values)).toBe('faa6d965574036872b0d39a42d1f8bee361d5be92b1e718155a69556a5abacdd');
  });

  // Digests: numpy's astype(float16), and (bits + 0x7fff + odd) >> 16 in integers, with the code 0 for NaN.
  it.each([
    ['F16', '70021cfbc81d4239b28d705a814fced2c88798acea93b0743a528e386cc7e1dd'],
    ['BF16', '55831dcb642f080ab731a9a70f4e290455ae14964e254fbe1d2485ffb273d22e'],
  ] as const)('rounds a million float32 to %s, ties to even', (dtype, digest) => {
    const values = floats();
    const written = new Uint16Array(encode(values, dtype).buffer);
    expect(sha256(written.map((code, i) => (Number.isNaN(values[i]!) ? 0 : code)))).toBe(digest);
  });

  it.each(['F16', 'BF16'] as const)('returns every %s code that is a number unchanged', (dtype) => {
    const values = decode(all16(), dtype);
    const back = new Uint16Array(encode(values, dtype).buffer);
    expect(
      values.reduce(
        (wrong, value, code) =>
          wrong +
          (back[code] === code ||
          (Number.isNaN(value) && Number.isNaN(decode(encode([value], dtype), dtype)[0]))
            ? 0
            : 1),
        0,
      ),
    ).toBe(0);
  });

  it('rounds at the borders of the formats as IEEE 754 says', () => {
    expect(codes('F16', 65519.99, 65520, 2 ** -25, 2 ** -25 * 1.001, 2049, 2051, -0)).toEqual([
      0x7bff, 0x7c00, 0, 1, 0x6800, 0x6802, 0x8000,
    ]);
    expect(codes('BF16', 1 + 2 ** -8, 1 + 3 * 2 ** -8, Infinity, -Infinity)).toEqual([
      0x3f80, 0x3f82, 0x7f80, 0xff80,
    ]);
    expect(codes('F16', Number.MAX_VALUE, Number.MIN_VALUE)).toEqual([0x7c00, 0]);
  });
});

describe('8-bit floats', () => {
  it('has the extreme values of arXiv:2209.05433, table 1', () => {
    expect(Array.from(decode(Uint8Array.of(0x7e, 0x08, 0x07, 0x01, 0xfe), 'F8_E4M3'))).toEqual([
      448,
      2 ** -6,
      0.875 * 2 ** -6,
      2 ** -9,
      -448,
    ]);
    expect(Array.from(decode(Uint8Array.of(0x7b, 0x04, 0x03, 0x01, 0x7c), 'F8_E5M2'))).toEqual([
      57344,
      2 ** -14,
      0.75 * 2 ** -14,
      2 ** -16,
      Infinity,
    ]);
    expect(decode(Uint8Array.of(0x7f), 'F8_E4M3')[0]).toBeNaN();
  });

  it.each(['F8_E4M3', 'F8_E5M2'] as const)('returns every %s code that is a number unchanged', (dtype) => {
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    const values = decode(all, dtype);
    const numbers = [...all].filter((code) => !Number.isNaN(values[code]));
    expect(bytes(dtype, ...numbers.map((code) => values[code]!))).toEqual(numbers);
  });
});

describe('integers', () => {
  it.each([
    ['I64', -5, [0xfb, 255, 255, 255, 255, 255, 255, 255]],
    ['U64', 258, [2, 1, 0, 0, 0, 0, 0, 0]],
    ['I32', -2, [0xfe, 255, 255, 255]],
    ['U32', 4294967295, [255, 255, 255, 255]],
    ['I16', -32768, [0, 0x80]],
    ['U16', 65535, [255, 255]],
    ['I8', -1, [255]],
    ['U8', 200, [200]],
    ['BOOL', 1, [1]],
  ] as const)('%s holds %d little-endian', (dtype, value, stored) => {
    expect(bytes(dtype, value)).toEqual([...stored]);
    expect(decode(Uint8Array.from(stored), dtype)[0]).toBe(Math.fround(value));
  });

  it.each([
    ['U8', 256],
    ['I8', 0.5],
    ['BOOL', 2],
    ['I64', NaN],
    ['U32', -1],
  ] as const)('refuses to put %2$d into %1$s', (dtype, value) => {
    expect(() => encode([value], dtype)).toThrow(expect.objectContaining({ code: 'dtype-range' }));
  });
});

it('shares memory with aligned float32 and copies unaligned', () => {
  const file = new Uint8Array(12);
  new DataView(file.buffer).setFloat32(4, 1.5, true);
  const view = decode(file.subarray(4, 8), 'F32');
  expect(view.buffer).toBe(file.buffer);
  expect(view[0]).toBe(1.5);
  const shifted = new Uint8Array(9);
  shifted.set(file.subarray(4, 8), 1);
  expect(decode(shifted.subarray(1, 5), 'F32')[0]).toBe(1.5);
});
