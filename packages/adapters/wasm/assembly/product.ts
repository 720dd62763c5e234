import { activate } from './activation';
import { WeightFormat } from './generated/calls';
import { multiplyAdd } from './math';
import { packRows } from './rows';
import { multiplyInteger, packInt16, widen } from './weights';

/** Depth of a block of the product: a panel of so many rows fills half of the L1 cache. */
const depthPerBlock = 512;

/** Rows of a block of the product: they and their results stay in the L2 cache while all panels pass. */
const rowsPerBlock = 64;

/** Bytes of a matrix in panels. */
export function panelBytes(columns: i32, depth: i32): i32 {
  return (((columns + 7) & ~7) * depth) << 2;
}

/**
 * Packs a matrix [depth, columns], times `scale`, into panels of 8 columns, the last one padded with zeros.
 * Strides are in bytes; a transposed matrix is packed by exchanging them.
 */
export function pack(
  columns: i32,
  depth: i32,
  source: usize,
  columnStride: usize,
  depthStride: usize,
  panels: usize,
  scale: f32,
): void {
  const scales = f32x4.splat(scale);
  for (let j = 0; j < columns; j += 8, source += columnStride << 3) {
    const count = min(8, columns - j);
    let row = source;
    if (count === 8 && columnStride === 4) {
      for (let k = 0; k < depth; k++, row += depthStride, panels += 32) {
        v128.store(panels, f32x4.mul(v128.load(row), scales));
        v128.store(panels, f32x4.mul(v128.load(row, 16), scales), 16);
      }
      continue;
    }
    for (let k = 0; k < depth; k++, row += depthStride, panels += 32) {
      if (count < 8) {
        v128.store(panels, f32x4.splat(0));
        v128.store(panels, f32x4.splat(0), 16);
      }
      let from = row;
      for (let s = 0; s < count; s++, from += columnStride)
        f32.store(panels + (s << 2), f32.load(from) * scale);
    }
  }
}

/**
 * out = a·panel + bias + residual for one panel of 8 columns. Four rows at once fill the vector registers: 8
 * sums, 2 vectors of the panel, 4 of `a`. The loop is unrolled four times, because each iteration has a cost
 * of its own. It can be left after any step, and not only to allow any depth: engines then cannot load ahead
 * for a later step, for which they have no registers. Comparing `a` with its end instead of `b` is 6 % faster
 * with V8.
 *
 * @param a from {@link packRows}
 * @param bias of 8 columns, or 0
 * @param residual laid out as `out`, or 0; may be `out`
 */
export function multiplyPanel(
  rows: i32,
  depth: i32,
  a: usize,
  panel: usize,
  bias: usize,
  residual: usize,
  out: usize,
  outStride: usize,
): void {
  const bytes: usize = depth << 4;
  const bias0 = bias ? v128.load(bias) : f32x4.splat(0);
  const bias1 = bias ? v128.load(bias, 16) : f32x4.splat(0);
  let step1 = outStride,
    step2 = 2 * outStride,
    step3 = 3 * outStride;
  for (let left = rows; left > 0; left -= 4) {
    if (left < 4) {
      // The first row stands in for missing ones, and is stored last.
      step3 = 0;
      if (left < 3) step2 = 0;
      if (left < 2) step1 = 0;
    }
    let s00 = bias0,
      s01 = bias1,
      s10 = bias0,
      s11 = bias1,
      s20 = bias0,
      s21 = bias1,
      s30 = bias0,
      s31 = bias1;
    let b = panel;
    const end = a + bytes;
    let b0: v128, b1: v128, x: v128;
    while (true) {
      b0 = v128.load(b);
      b1 = v128.load(b, 16);
      x = v128.load32_splat(a);
      s00 = multiplyAdd(x, b0, s00);
      s01 = multiplyAdd(x, b1, s01);
      x = v128.load32_splat(a, 4);
      s10 = multiplyAdd(x, b0, s10);
      s11 = multiplyAdd(x, b1, s11);
      x = v128.load32_splat(a, 8);
      s20 = multiplyAdd(x, b0, s20);
      s21 = multiplyAdd(x, b1, s21);
      x = v128.load32_splat(a, 12);
      s30 = multiplyAdd(x, b0, s30);
      s31 = multiplyAdd(x, b1, s31);
      a += 16;
      b += 32;
      if (a >= end) break;
      b0 = v128.load(b);
      b1 = v128.load(b, 16);
      x = v128.load32_splat(a);
      s00 = multiplyAdd(x, b0, s00);
      s01 = multiplyAdd(x, b1, s01);
      x = v128.load32_splat(a, 4);
      s10 = multiplyAdd(x, b0, s10);
      s11 = multiplyAdd(x, b1, s11);
      x = v128.load32_splat(a, 8);
      s20 = multiplyAdd(x, b0, s20);
      s21 = multiplyAdd(x, b1, s21);
      x = v128.load32_splat(a, 12);
      s30 = multiplyAdd(x, b0, s30);
      s31 = multiplyAdd(x, b1, s31);
      a += 16;
      b += 32;
      if (a >= end) break;
      b0 = v128.load(b);
      b1 = v128.load(b, 16);
      x = v128.load32_splat(a);
      s00 = multiplyAdd(x, b0, s00);
      s01 = multiplyAdd(x, b1, s01);
      x = v128.load32_splat(a, 4);
      s10 = multiplyAdd(x, b0, s10);
      s11 = multiplyAdd(x, b1, s11);
      x = v128.load32_splat(a, 8);
      s20 = multiplyAdd(x, b0, s20);
      s21 = multiplyAdd(x, b1, s21);
      x = v128.load32_splat(a, 12);
      s30 = multiplyAdd(x, b0, s30);
      s31 = multiplyAdd(x, b1, s31);
      a += 16;
      b += 32;
      if (a >= end) break;
      b0 = v128.load(b);
      b1 = v128.load(b, 16);
      x = v128.load32_splat(a);
      s00 = multiplyAdd(x, b0, s00);
      s01 = multiplyAdd(x, b1, s01);
      x = v128.load32_splat(a, 4);
      s10 = multiplyAdd(x, b0, s10);
      s11 = multiplyAdd(x, b1, s11);
      x = v128.load32_splat(a, 8);
      s20 = multiplyAdd(x, b0, s20);
      s21 = multiplyAdd(x, b1, s21);
      x = v128.load32_splat(a, 12);
      s30 = multiplyAdd(x, b0, s30);
      s31 = multiplyAdd(x, b1, s31);
      a += 16;
      b += 32;
      if (a >= end) break;
    }
    const o1 = out + step1;
    const o2 = out + step2;
    const o3 = out + step3;
    if (residual) {
      const r1 = residual + step1;
      const r2 = residual + step2;
      const r3 = residual + step3;
      s00 = f32x4.add(s00, v128.load(residual));
      s01 = f32x4.add(s01, v128.load(residual, 16));
      s10 = f32x4.add(s10, v128.load(r1));
      s11 = f32x4.add(s11, v128.load(r1, 16));
      s20 = f32x4.add(s20, v128.load(r2));
      s21 = f32x4.add(s21, v128.load(r2, 16));
      s30 = f32x4.add(s30, v128.load(r3));
      s31 = f32x4.add(s31, v128.load(r3, 16));
      residual += outStride << 2;
    }
    v128.store(o3, s30);
    v128.store(o3, s31, 16);
    v128.store(o2, s20);
    v128.store(o2, s21, 16);
    v128.store(o1, s10);
    v128.store(o1, s11, 16);
    v128.store(out, s00);
    v128.store(out, s01, 16);
    out += outStride << 2;
  }
}

/**
 * Moves the first columns of a panel's product to `out`, and adds what {@link multiplyPanel} would have
 * added.
 */
export function moveColumns(
  rows: i32,
  columns: i32,
  from: usize,
  bias: usize,
  residual: usize,
  out: usize,
  outStride: usize,
): void {
  for (let row = 0; row < rows; row++, from += 32, out += outStride) {
    for (let c = 0; c < columns << 2; c += 4) {
      let value = f32.load(from + c);
      if (bias) value += f32.load(bias + c);
      if (residual) value += f32.load(residual + c);
      f32.store(out + c, value);
    }
    if (residual) residual += outStride;
  }
}

/*
 * Scratch of {@link multiply}: the product of a panel, packed rows, and for other formats than float32 a
 * widened panel or quantised rows.
 */
const packedOffset: i32 = rowsPerBlock * 36;
const widenedOffset: i32 = packedOffset + ((rowsPerBlock * depthPerBlock) << 2);

/** Bytes of scratch that {@link multiply} needs. */
export function multiplyScratch(): i32 {
  return widenedOffset + ((rowsPerBlock * (depthPerBlock + 4)) << 1);
}

/**
 * out = activation(a·b + bias) + residual.
 *
 * @param a [rows, depth]
 * @param panels of b [depth, columns]
 * @param bias [columns], or 0
 * @param residual [rows, columns], or 0; may be `out`
 * @param activation an `Activation`; none if there is a residual
 * @param format of the panels, a {@link WeightFormat}
 */
export function multiply(
  rows: i32,
  columns: i32,
  depth: i32,
  a: usize,
  panels: usize,
  bias: usize,
  residual: usize,
  out: usize,
  activation: i32,
  scratch: usize,
  format: i32,
): void {
  const aStride: usize = depth << 2;
  const outStride: usize = columns << 2;
  const packed = scratch + packedOffset;
  const widened = scratch + widenedOffset;
  // Eight columns at one depth take 32, 16 or 8 bytes; int8 has an even depth.
  const panelStride: usize = format === WeightFormat.int8 ? ((depth + 1) & ~1) << 3 : depth << (5 - format);
  const scales = panels + ((columns + 7) >> 3) * panelStride;
  for (let row = 0; row < rows; row += rowsPerBlock) {
    const count = min(rowsPerBlock, rows - row);
    for (let k = 0; k < depth; k += depthPerBlock) {
      const part = min(depthPerBlock, depth - k);
      // The first block of the depth starts with bias and residual, the others with the sums so far.
      const biasNow = k === 0 ? bias : 0;
      const residualNow = k === 0 ? residual : out;
      let panel = panels + (k << (5 - format));
      if (format === WeightFormat.int8)
        packInt16(count, part, a + (k << 2), aStride, scratch, widened, packed);
      else packRows(count, part, a + (k << 2), aStride, packed);
      for (let column = 0; column < columns; column += 8, panel += panelStride) {
        const offset: usize = column << 2;
        const biasHere = biasNow ? biasNow + offset : 0;
        const residualHere = residualNow ? residualNow + offset : 0;
        // The columns of a partial panel go through scratch, where they follow the scales of rows.
        const whole = column + 8 <= columns;
        const to = whole ? out + offset : scratch + (rowsPerBlock << 2);
        const stride: usize = whole ? outStride : 32;
        const first = whole ? biasHere : 0;
        const second = whole ? residualHere : 0;
        if (format === WeightFormat.int8) {
          multiplyInteger(
            count,
            (part + 1) >> 1,
            packed,
            panel,
            scratch,
            scales + offset,
            first,
            second,
            to,
            stride,
          );
        } else {
          if (format === WeightFormat.float16) widen(part << 3, panel, widened);
          const from = format === WeightFormat.float16 ? widened : panel;
          multiplyPanel(count, part, packed, from, first, second, to, stride);
        }
        if (!whole) moveColumns(count, columns - column, to, biasHere, residualHere, out + offset, outStride);
      }
    }
    if (activation) activate(activation, count * columns, out);
    a += count * aStride;
    out += count * outStride;
    if (residual) residual += count * outStride;
  }
}

function addTo8(out: usize, v0: v128, v1: v128): void {
  v128.store(out, f32x4.add(v0, v128.load(out)));
  v128.store(out, f32x4.add(v1, v128.load(out, 16)), 16);
}

/** Rows whose products are summed in registers before they are added to the output. */
const rowsPerSum = 128;

/**
 * out += aᵀ·b, summed over the rows of both: the gradient of a weight.
 *
 * @param a [rows, height]
 * @param b [rows, width]
 * @param out [height, width]
 */
export function multiplyTransposed(
  rows: i32,
  height: i32,
  width: i32,
  a: usize,
  aStride: usize,
  b: usize,
  bStride: usize,
  out: usize,
  outStride: usize,
): void {
  for (let row = 0; row < rows; row += rowsPerSum) {
    const count = min(rowsPerSum, rows - row);
    const end = b + count * bStride;
    let j = 0;
    for (; j + 8 <= width; j += 8) {
      const bj = b + (j << 2);
      let o = out + (j << 2);
      let i = 0;
      for (; i + 4 <= height; i += 4, o += outStride << 2)
        multiplyTransposedTile(a + (i << 2), aStride, bj, bStride, end, o, outStride);
      for (; i < height; i++, o += outStride)
        multiplyTransposedRow(count, a + (i << 2), aStride, bj, bStride, 8, o);
    }
    if (j < width) {
      let o = out + (j << 2);
      for (let i = 0; i < height; i++, o += outStride)
        multiplyTransposedRow(count, a + (i << 2), aStride, b + (j << 2), bStride, width - j, o);
    }
    a += count * aStride;
    b = end;
  }
}

/** Four rows of the output and eight columns. */
function multiplyTransposedTile(
  a: usize,
  aStride: usize,
  b: usize,
  bStride: usize,
  end: usize,
  out: usize,
  outStride: usize,
): void {
  let s00 = f32x4.splat(0),
    s01 = s00,
    s10 = s00,
    s11 = s00,
    s20 = s00,
    s21 = s00,
    s30 = s00,
    s31 = s00;
  do {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const x0 = v128.load32_splat(a);
    s00 = multiplyAdd(x0, b0, s00);
    s01 = multiplyAdd(x0, b1, s01);
    const x1 = v128.load32_splat(a, 4);
    s10 = multiplyAdd(x1, b0, s10);
    s11 = multiplyAdd(x1, b1, s11);
    const x2 = v128.load32_splat(a, 8);
    s20 = multiplyAdd(x2, b0, s20);
    s21 = multiplyAdd(x2, b1, s21);
    const x3 = v128.load32_splat(a, 12);
    s30 = multiplyAdd(x3, b0, s30);
    s31 = multiplyAdd(x3, b1, s31);
    a += aStride;
    b += bStride;
  } while (b < end);
  addTo8(out, s00, s01);
  out += outStride;
  addTo8(out, s10, s11);
  out += outStride;
  addTo8(out, s20, s21);
  out += outStride;
  addTo8(out, s30, s31);
}

/** At most eight columns of one row of the output, for what does not fill a tile. */
function multiplyTransposedRow(
  rows: i32,
  a: usize,
  aStride: usize,
  b: usize,
  bStride: usize,
  width: i32,
  out: usize,
): void {
  for (let j = 0; j < width << 2; j += 4) {
    let sum: f32 = 0;
    let ai = a;
    let bj = b + j;
    for (let row = 0; row < rows; row++, ai += aStride, bj += bStride) sum += f32.load(ai) * f32.load(bj);
    f32.store(out + j, f32.load(out + j) + sum);
  }
}

/** out [columns] += the sum of the rows of x [rows, columns]. */
export function addRows(rows: i32, columns: i32, x: usize, out: usize): void {
  const stride: usize = columns << 2;
  for (let row = 0; row < rows; row += rowsPerSum, x += rowsPerSum * stride) {
    const count = min(rowsPerSum, rows - row);
    let c: usize = 0;
    for (; c + 16 <= stride; c += 16) {
      let sum = f32x4.splat(0);
      let from = x + c;
      for (let r = 0; r < count; r++, from += stride) sum = f32x4.add(sum, v128.load(from));
      v128.store(out + c, f32x4.add(v128.load(out + c), sum));
    }
    for (; c < stride; c += 4) {
      let sum: f32 = 0;
      let from = x + c;
      for (let r = 0; r < count; r++, from += stride) sum += f32.load(from);
      f32.store(out + c, f32.load(out + c) + sum);
    }
  }
}
