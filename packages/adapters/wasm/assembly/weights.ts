import { packRows } from './rows';

/** Converts finite float16 numbers to float32; `count` is a multiple of eight. */
export function widen(count: i32, from: usize, to: usize): void {
  for (const end = from + (count << 1); from < end; from += 16, to += 32) {
    const halves = v128.load(from);
    v128.store(to, widen4(i32x4.extend_low_i16x8_u(halves)));
    v128.store(to, widen4(i32x4.extend_high_i16x8_u(halves)), 16);
  }
}

/**
 * Exponent and fraction move up by 13 bits, and 112, the difference of the biases, is added to the exponent;
 * a subtraction makes subnormal numbers normal.
 */
function widen4(halves: v128): v128 {
  const moved = i32x4.shl(v128.and(halves, i32x4.splat(0x7fff)), 13);
  const subnormal = i32x4.lt_s(moved, i32x4.splat(1 << 23));
  const small = f32x4.sub(i32x4.add(moved, i32x4.splat(113 << 23)), f32x4.splat(6.103515625e-5));
  const sign = i32x4.shl(v128.and(halves, i32x4.splat(0x8000)), 16);
  return v128.or(v128.bitselect(small, i32x4.add(moved, i32x4.splat(112 << 23)), subnormal), sign);
}

/**
 * Converts float32 numbers to float16 if that is exact.
 *
 * @returns 1, or 0 at the first number that float16 cannot represent
 */
export function narrow(count: i32, from: usize, to: usize): i32 {
  for (const end = from + (count << 2); from < end; from += 4, to += 2) {
    const bits = load<u32>(from);
    const size = reinterpret<f32>(bits & 0x7fffffff);
    if (!(size <= 65504)) return 0;
    // Numbers below 2^-14 are multiples of 2^-24.
    const half: u32 =
      size < 6.103515625e-5 ? <u32>(size * 16777216) : ((bits & 0x7fffffff) >> 13) - (112 << 10);
    const back: f32 =
      size < 6.103515625e-5 ? <f32>half * 5.960464477539063e-8 : reinterpret<f32>((half + (112 << 10)) << 13);
    if (back !== size) return 0;
    store<u16>(to, <u16>(half | ((bits >> 16) & 0x8000)));
  }
  return 1;
}

/** Bytes of a matrix packed by {@link packInt8}. */
export function int8Bytes(columns: i32, depth: i32): i32 {
  return ((columns + 7) & ~7) * (((depth + 1) & ~1) + 4);
}

/**
 * Quantises panels of float32 to int8 with one scale for each column. In a panel, numbers of a column at two
 * consecutive depths are neighbours; the scales follow the panels.
 */
export function packInt8(columns: i32, depth: i32, panels: usize, to: usize): void {
  const even = (depth + 1) & ~1;
  const padded = (columns + 7) & ~7;
  let scales = to + padded * even;
  for (let column = 0; column < padded; column += 8, panels += depth << 5, to += even << 3) {
    for (let c = 0; c < 8; c++, scales += 4) {
      let largest: f32 = 0;
      for (let k = 0; k < depth; k++) largest = max(largest, abs(f32.load(panels + (k << 5) + (c << 2))));
      f32.store(scales, largest / 127);
      const inverse: f32 = largest > 1e-30 ? 127 / largest : 0;
      for (let k = 0; k < even; k++) {
        const value = k < depth ? nearest(f32.load(panels + (k << 5) + (c << 2)) * inverse) : 0;
        store<i8>(to + ((k >> 1) << 4) + (c << 1) + (k & 1), <i8>value);
      }
    }
  }
}

/**
 * Quantises rows to int16, each with a scale of its own, and packs them in groups of four as `packRows` does,
 * two numbers to an element.
 *
 * @param scales receives the scales of the rows
 * @param unpacked receives the quantised rows before they are packed
 */
export function packInt16(
  rows: i32,
  depth: i32,
  a: usize,
  aStride: usize,
  scales: usize,
  unpacked: usize,
  packed: usize,
): void {
  const pairs = (depth + 1) >> 1;
  const bytes: usize = depth << 2;
  let to = unpacked;
  for (let row = 0; row < rows; row++, a += aStride, scales += 4) {
    // Unlike the pseudo-maximum, the maximum keeps NaN.
    let largest4 = f32x4.splat(0);
    let c: usize = 0;
    for (; c + 16 <= bytes; c += 16) largest4 = f32x4.max(largest4, f32x4.abs(v128.load(a + c)));
    let largest = max(
      max(f32x4.extract_lane(largest4, 0), f32x4.extract_lane(largest4, 1)),
      max(f32x4.extract_lane(largest4, 2), f32x4.extract_lane(largest4, 3)),
    );
    for (; c < bytes; c += 4) largest = max(largest, abs(f32.load(a + c)));
    f32.store(scales, largest / 32767);
    const inverse: f32 = largest > 1e-30 ? 32767 / largest : 0;
    const inverses = f32x4.splat(inverse);
    for (c = 0; c + 32 <= bytes; c += 32, to += 16) {
      const low = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(a + c), inverses)));
      const high = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(a + c, 16), inverses)));
      v128.store(to, i16x8.narrow_i32x4_s(low, high));
    }
    for (; c < bytes; c += 4, to += 2) store<i16>(to, <i16>nearest(f32.load(a + c) * inverse));
    if (depth & 1) {
      store<i16>(to, 0);
      to += 2;
    }
  }
  packRows(rows, pairs, unpacked, pairs << 2, packed);
}

/**
 * As `multiplyPanel`, of integers: products at two depths at once, summed in 32 bits, which 512 depths cannot
 * overflow.
 *
 * @param a rows from {@link packInt16}, with their scales
 * @param panel from {@link packInt8}, with the scales of its columns
 */
export function multiplyInteger(
  rows: i32,
  pairs: i32,
  a: usize,
  panel: usize,
  rowScales: usize,
  columnScales: usize,
  bias: usize,
  residual: usize,
  out: usize,
  outStride: usize,
): void {
  const bytes: usize = pairs << 4;
  const bias0 = bias ? v128.load(bias) : f32x4.splat(0);
  const bias1 = bias ? v128.load(bias, 16) : f32x4.splat(0);
  const scale0 = v128.load(columnScales);
  const scale1 = v128.load(columnScales, 16);
  for (let left = rows; left > 0; left -= 4, rowScales += 16) {
    let s00 = i32x4.splat(0),
      s01 = s00,
      s10 = s00,
      s11 = s00,
      s20 = s00,
      s21 = s00,
      s30 = s00,
      s31 = s00;
    let b = panel;
    const end = a + bytes;
    let b0: v128, b1: v128, x: v128;
    while (true) {
      x = v128.load(b);
      b0 = i16x8.extend_low_i8x16_s(x);
      b1 = i16x8.extend_high_i8x16_s(x);
      x = v128.load32_splat(a);
      s00 = i32x4.add(s00, i32x4.dot_i16x8_s(x, b0));
      s01 = i32x4.add(s01, i32x4.dot_i16x8_s(x, b1));
      x = v128.load32_splat(a, 4);
      s10 = i32x4.add(s10, i32x4.dot_i16x8_s(x, b0));
      s11 = i32x4.add(s11, i32x4.dot_i16x8_s(x, b1));
      x = v128.load32_splat(a, 8);
      s20 = i32x4.add(s20, i32x4.dot_i16x8_s(x, b0));
      s21 = i32x4.add(s21, i32x4.dot_i16x8_s(x, b1));
      x = v128.load32_splat(a, 12);
      s30 = i32x4.add(s30, i32x4.dot_i16x8_s(x, b0));
      s31 = i32x4.add(s31, i32x4.dot_i16x8_s(x, b1));
      a += 16;
      b += 16;
      if (a >= end) break;
      x = v128.load(b);
      b0 = i16x8.extend_low_i8x16_s(x);
      b1 = i16x8.extend_high_i8x16_s(x);
      x = v128.load32_splat(a);
      s00 = i32x4.add(s00, i32x4.dot_i16x8_s(x, b0));
      s01 = i32x4.add(s01, i32x4.dot_i16x8_s(x, b1));
      x = v128.load32_splat(a, 4);
      s10 = i32x4.add(s10, i32x4.dot_i16x8_s(x, b0));
      s11 = i32x4.add(s11, i32x4.dot_i16x8_s(x, b1));
      x = v128.load32_splat(a, 8);
      s20 = i32x4.add(s20, i32x4.dot_i16x8_s(x, b0));
      s21 = i32x4.add(s21, i32x4.dot_i16x8_s(x, b1));
      x = v128.load32_splat(a, 12);
      s30 = i32x4.add(s30, i32x4.dot_i16x8_s(x, b0));
      s31 = i32x4.add(s31, i32x4.dot_i16x8_s(x, b1));
      a += 16;
      b += 16;
      if (a >= end) break;
    }
    storeScaled(s00, s01, f32.load(rowScales), scale0, scale1, bias0, bias1, residual, out);
    if (left > 1)
      storeScaled(
        s10,
        s11,
        f32.load(rowScales, 4),
        scale0,
        scale1,
        bias0,
        bias1,
        residual ? residual + outStride : 0,
        out + outStride,
      );
    if (left > 2)
      storeScaled(
        s20,
        s21,
        f32.load(rowScales, 8),
        scale0,
        scale1,
        bias0,
        bias1,
        residual ? residual + 2 * outStride : 0,
        out + 2 * outStride,
      );
    if (left > 3)
      storeScaled(
        s30,
        s31,
        f32.load(rowScales, 12),
        scale0,
        scale1,
        bias0,
        bias1,
        residual ? residual + 3 * outStride : 0,
        out + 3 * outStride,
      );
    out += outStride << 2;
    if (residual) residual += outStride << 2;
  }
}

function storeScaled(
  s0: v128,
  s1: v128,
  rowScale: f32,
  scale0: v128,
  scale1: v128,
  bias0: v128,
  bias1: v128,
  residual: usize,
  out: usize,
): void {
  const scale = f32x4.splat(rowScale);
  let y0 = f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(s0), f32x4.mul(scale0, scale)), bias0);
  let y1 = f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(s1), f32x4.mul(scale1, scale)), bias1);
  if (residual) {
    y0 = f32x4.add(y0, v128.load(residual));
    y1 = f32x4.add(y1, v128.load(residual, 16));
  }
  v128.store(out, y0);
  v128.store(out, y1, 16);
}
