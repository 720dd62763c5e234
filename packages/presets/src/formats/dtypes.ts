import { CheckpointError } from '@pvt/core';

/** How one value of a dtype is stored, little-endian. */
interface Codec {
  /** Bytes per value. */
  readonly size: number;
  readonly read: (view: DataView, at: number) => number;
  /** Rounds to the nearest value, ties to even. Integer types need an integer in range. */
  readonly write: (view: DataView, at: number, value: number) => void;
  /** Least and greatest value of an integer type. */
  readonly range?: readonly [least: number, greatest: number];
}

/**
 * The dtypes of safetensors whose values take whole bytes. F8_E4M3 is the variant without infinities
 * (Micikevicius et al., arXiv:2209.05433); F8_E5M2 is an F16's upper byte.
 */
export const dtypes = {
  F64: { size: 8, read: (v, at) => v.getFloat64(at, true), write: (v, at, x) => v.setFloat64(at, x, true) },
  F32: { size: 4, read: (v, at) => v.getFloat32(at, true), write: (v, at, x) => v.setFloat32(at, x, true) },
  F16: /* @__PURE__ */ smallFloat(5, 10),
  BF16: /* @__PURE__ */ smallFloat(8, 7),
  F8_E5M2: /* @__PURE__ */ smallFloat(5, 2),
  F8_E4M3: /* @__PURE__ */ smallFloat(4, 3, true),
  I64: {
    size: 8,
    read: (v, at) => Number(v.getBigInt64(at, true)),
    write: (v, at, x) => v.setBigInt64(at, BigInt(x), true),
    range: [-(2 ** 53), 2 ** 53],
  },
  U64: {
    size: 8,
    read: (v, at) => Number(v.getBigUint64(at, true)),
    write: (v, at, x) => v.setBigUint64(at, BigInt(x), true),
    range: [0, 2 ** 53],
  },
  I32: {
    size: 4,
    read: (v, at) => v.getInt32(at, true),
    write: (v, at, x) => v.setInt32(at, x, true),
    range: [-(2 ** 31), 2 ** 31 - 1],
  },
  U32: {
    size: 4,
    read: (v, at) => v.getUint32(at, true),
    write: (v, at, x) => v.setUint32(at, x, true),
    range: [0, 2 ** 32 - 1],
  },
  I16: {
    size: 2,
    read: (v, at) => v.getInt16(at, true),
    write: (v, at, x) => v.setInt16(at, x, true),
    range: [-(2 ** 15), 2 ** 15 - 1],
  },
  U16: {
    size: 2,
    read: (v, at) => v.getUint16(at, true),
    write: (v, at, x) => v.setUint16(at, x, true),
    range: [0, 2 ** 16 - 1],
  },
  I8: { size: 1, read: (v, at) => v.getInt8(at), write: (v, at, x) => v.setInt8(at, x), range: [-128, 127] },
  U8: { size: 1, read: (v, at) => v.getUint8(at), write: (v, at, x) => v.setUint8(at, x), range: [0, 255] },
  BOOL: {
    size: 1,
    read: (v, at) => (v.getUint8(at) === 0 ? 0 : 1),
    write: (v, at, x) => v.setUint8(at, x),
    range: [0, 1],
  },
} as const satisfies Record<string, Codec>;

export type Dtype = keyof typeof dtypes;

/** Nearest integer, ties to even, for 0 <= x < 2^52: from 2^52 on, a double has no bits for a fraction. */
const roundEven = (x: number): number => x + 2 ** 52 - 2 ** 52;

/** Exponent of the power of two at or below a positive double, from its bits. */
function binaryExponent(x: number, scratch: DataView): number {
  scratch.setFloat64(0, x);
  return (scratch.getUint16(0) >>> 4) - 1023;
}

/**
 * A float of `1 + exponent + mantissa` bits, 8 or 16 in all. `finite` means without infinities, and with NaN
 * as the highest code only. Values come from a table of all codes, computed at first use; values that are too
 * large become infinity, or NaN if there is none.
 */
function smallFloat(exponent: number, mantissa: number, finite = false): Codec {
  const steps = 2 ** mantissa;
  const top = 2 ** exponent - 1;
  const least = 1 - (top >>> 1);
  const negative = 2 ** (exponent + mantissa);
  const infinity = top * steps;
  const nan = infinity + (finite ? steps - 1 : steps / 2);
  const overflow = finite ? nan : infinity;
  const size = (1 + exponent + mantissa) / 8;

  const valueOf = (code: number): number => {
    const sign = code < negative ? 1 : -1;
    const power = Math.floor(code / steps) & top;
    const fraction = code % steps;
    if (power === top && !finite) return fraction === 0 ? sign * Infinity : NaN;
    if (code % negative === nan) return NaN;
    return (
      sign *
      (power === 0
        ? fraction * 2 ** (least - mantissa)
        : (steps + fraction) * 2 ** (power - 1 + least - mantissa))
    );
  };
  let values: Float32Array | undefined;
  let scales: Float64Array | undefined;
  const scratch = new DataView(new ArrayBuffer(8));

  const codeOf = (value: number): number => {
    if (value !== value) return nan;
    scales ??= Float64Array.from({ length: top + 1 }, (_, power) => 2 ** (mantissa - power - least));
    const sign = value < 0 || Object.is(value, -0) ? negative : 0;
    const power = Math.max(0, binaryExponent(Math.abs(value), scratch) - least);
    if (power > top) return sign + overflow;
    // Codes are consecutive across powers: a mantissa that rounds up to 2 carries into the exponent.
    return sign + Math.min(power * steps + roundEven(Math.abs(value) * scales[power]!), overflow);
  };
  return {
    size,
    read(view, at) {
      values ??= Float32Array.from({ length: 2 * negative }, (_, code) => valueOf(code));
      return values[size === 1 ? view.getUint8(at) : view.getUint16(at, true)]!;
    },
    write: (view, at, value) =>
      size === 1 ? view.setUint8(at, codeOf(value)) : view.setUint16(at, codeOf(value), true),
  };
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * Stored bytes as float32: a view if they are aligned F32, else a conversion.
 * F64, I32, U32, I64 and U64 round to the nearest float32.
 *
 * @example
 * const values = decode(entry.bytes, 'BF16');
 */
export function decode(bytes: Uint8Array, dtype: Dtype): Float32Array {
  const { size, read }: Codec = dtypes[dtype];
  if (dtype === 'F32') {
    // Every platform that runs tfjs is little-endian, as the format is.
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
    return new Float32Array(aligned.buffer, aligned.byteOffset, bytes.byteLength / 4);
  }
  const view = viewOf(bytes);
  const values = new Float32Array(bytes.byteLength / size);
  for (let i = 0; i < values.length; i++) values[i] = read(view, i * size);
  return values;
}

/**
 * Values as the bytes of a dtype, rounded to nearest, ties to even.
 *
 * @throws CheckpointError `dtype-range` if an integer dtype cannot hold a value
 * @example
 * const half = encode(values, 'F16');
 */
export function encode(values: ArrayLike<number>, dtype: Dtype): Uint8Array {
  const { size, write, range }: Codec = dtypes[dtype];
  if (dtype === 'F32') return new Uint8Array(new Float32Array(values).buffer);
  const bytes = new Uint8Array(values.length * size);
  const view = viewOf(bytes);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (range && !(Number.isInteger(value) && value >= range[0] && value <= range[1])) {
      throw new CheckpointError(
        'dtype-range',
        `encode: expected integers from ${range[0]} to ${range[1]} for ${dtype}, got ${value} at ${i}; ` +
          'choose a floating-point dtype.',
      );
    }
    write(view, i * size, value);
  }
  return bytes;
}
