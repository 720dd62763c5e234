import { packRows } from './rows';

/** Widens float16 numbers, which must be finite; a multiple of eight. */
export function widen(count: i32, from: usize, to: usize): void {
  for (const end = from + (count << 1); from < end; from += 16, to += 32) {
    const halves = v128.load(from);
    v128.store(to, widen4(i32x4.extend_low_i16x8_u(halves)));
    v128.store(to, widen4(i32x4.extend_high_i16x8_u(halves)), 16);
  }
}

/** Exponent and fraction move up by 13 bits, the exponent by the 112 between the two biases; subnormal numbers become normal by a subtraction. */
function widen4(halves: v128): v128 {
  const moved = i32x4.shl(v128.and(halves, i32x4.splat(0x7fff)), 13);
  const subnormal = i32x4.lt_s(moved, i32x4.splat(1 << 23));
  const small = f32x4.sub(i32x4.add(moved, i32x4.splat(113 << 23)), f32x4.splat(6.103515625e-5));
  const sign = i32x4.shl(v128.and(halves, i32x4.splat(0x8000)), 16);
  return v128.or(v128.bitselect(small, i32x4.add(moved, i32x4.splat(112 << 23)), subnormal), sign);
}

/**
 * Writes a float32 number as the float16 that it is.
 *
 * @returns whether every number is one
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

/** Bytes of a matrix as {@link packInt8} lays it out. */
export function int8Bytes(columns: i32, depth: i32): i32 {
  return ((columns + 7) & ~7) * (((depth + 1) & ~1) + 4);
}

/**
 * Rounds panels of float32 to whole numbers up to 127, with a scale for each column. In a panel, numbers of one column at
 * two depths lie together; the scales follow the panels.
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
 * Rounds rows to whole numbers up to 32767, each by its own largest, and packs them in groups of four as `packRows` does,
 * two numbers to an element.
 *
 * @param scales of the rows, what a unit stands for
 * @param between for the rows before they are packed
 */
export function packWhole(
  rows: i32,
  depth: i32,
  a: usize,
  aStride: usize,
  scales: usize,
  between: usize,
  packed: usize,
): void {
  const pairs = (depth + 1) >> 1;
  const bytes: usize = depth << 2;
  let to = between;
  for (let row = 0; row < rows; row++, a += aStride, scales += 4) {
    // Not the pseudo-maximum: NaN must stay.
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
  packRows(rows, pairs, between, pairs << 2, packed);
}

/**
 * As `multiplyPanel`, of whole numbers: products of two depths at once, summed in 32 bits, which 512 depths cannot fill.
 *
 * @param a from {@link packWhole}, with the scales of its rows
 * @param panel from {@link packInt8}, with the scales of its columns
 */
export function multiplyWhole(
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
