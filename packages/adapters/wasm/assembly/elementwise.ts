import { softmax } from './attention';
import { BinaryKind, UnaryKind } from './generated/calls';
import { exponential } from './math';

function combine(kind: i32, a: v128, b: v128): v128 {
  if (kind === BinaryKind.add) return f32x4.add(a, b);
  if (kind === BinaryKind.subtract) return f32x4.sub(a, b);
  if (kind === BinaryKind.multiply) return f32x4.mul(a, b);
  return f32x4.sub(b, a);
}

/**
 * out = a + b, a - b, a·b or b - a by {@link BinaryKind}, where the values of b repeat after `period`.
 *
 * @param first index of the first value of a, which determines where to start in b
 */
export function binary(kind: i32, first: i32, count: i32, period: i32, a: usize, b: usize, out: usize): void {
  const end = out + (count << 2);
  if (period === 1) {
    const value = v128.load32_splat(b);
    for (; out + 16 <= end; a += 16, out += 16) v128.store(out, combine(kind, v128.load(a), value));
    for (; out < end; a += 4, out += 4) v128.store32_lane(out, combine(kind, v128.load32_splat(a), value), 0);
    return;
  }
  const last = b + (period << 2);
  let from = b + ((first % period) << 2);
  while (out < end) {
    const stop = out + min(end - out, last - from);
    for (; out + 16 <= stop; a += 16, from += 16, out += 16)
      v128.store(out, combine(kind, v128.load(a), v128.load(from)));
    for (; out < stop; a += 4, from += 4, out += 4)
      v128.store32_lane(out, combine(kind, v128.load32_splat(a), v128.load32_splat(from)), 0);
    from = b;
  }
}

function apply(kind: i32, x: v128): v128 {
  if (kind === UnaryKind.relu) return f32x4.pmax(x, f32x4.splat(0));
  if (kind === UnaryKind.square) return f32x4.mul(x, x);
  if (kind === UnaryKind.rsqrt) return f32x4.div(f32x4.splat(1), f32x4.sqrt(x));
  // Sigmoid from e^-|x| and tanh from e^-2|x|, which do not overflow. Near 0, tanh is off by 1e-7, as 1 -
  // e^-2|x| cancels.
  const size = f32x4.abs(x);
  const power = exponential(f32x4.mul(size, f32x4.splat(kind === UnaryKind.sigmoid ? -1 : -2)));
  const sum = f32x4.add(f32x4.splat(1), power);
  const negative = f32x4.lt(x, f32x4.splat(0));
  if (kind === UnaryKind.sigmoid) return f32x4.div(v128.bitselect(power, f32x4.splat(1), negative), sum);
  const value = f32x4.div(f32x4.sub(f32x4.splat(1), power), sum);
  return v128.bitselect(f32x4.neg(value), value, negative);
}

/** A function of each value, by {@link UnaryKind}. */
export function unary(kind: i32, count: i32, x: usize, out: usize): void {
  const end = out + (count << 2);
  for (; out + 16 <= end; x += 16, out += 16) v128.store(out, apply(kind, v128.load(x)));
  for (; out < end; x += 4, out += 4) v128.store32_lane(out, apply(kind, v128.load32_splat(x)), 0);
}

/** Copies blocks of bytes that are a stride apart; a source stride of 0 repeats one block. */
export function copyBlocks(
  blocks: i32,
  bytes: i32,
  from: usize,
  fromStride: i32,
  to: usize,
  toStride: i32,
): void {
  for (let block = 0; block < blocks; block++, from += fromStride, to += toStride)
    memory.copy(to, from, bytes);
}

/** Means of the columns of x [rows, columns], for `count` columns from the column `first` on. */
export function mean(rows: i32, columns: i32, first: i32, count: i32, x: usize, out: usize): void {
  const stride: usize = columns << 2;
  for (let c = first << 2; c < (first + count) << 2; c += 4) {
    // Sums of partial sums lose less precision.
    let total: f32 = 0;
    for (let start = 0; start < rows; start += 128) {
      let sum: f32 = 0;
      let from = x + start * stride + c;
      for (let row = start; row < min(rows, start + 128); row++, from += stride) sum += f32.load(from);
      total += sum;
    }
    f32.store(out + c, total / f32(rows));
  }
}

/**
 * Transposes x into out [.., side1, side2, side3], given the stride in x, in values, along each of the four
 * axes of out; for `count` of the rows that the first two axes of out count, from the row `first` on.
 */
export function transpose(
  first: i32,
  count: i32,
  side1: i32,
  side2: i32,
  side3: i32,
  stride0: i32,
  stride1: i32,
  stride2: i32,
  stride3: i32,
  x: usize,
  out: usize,
): void {
  out += (first * side2 * side3) << 2;
  for (let row = first; row < first + count; row++) {
    const plane = x + (((row / side1) * stride0 + (row % side1) * stride1) << 2);
    for (let i = 0; i < side2; i++) {
      let from = plane + ((i * stride2) << 2);
      for (let j = 0; j < side3; j++, from += stride3 << 2, out += 4) f32.store(out, f32.load(from));
    }
  }
}

/** Softmax of rows of `columns` values; scratch holds one row, rounded up to a multiple of four values. */
export function softmaxRows(rows: i32, columns: i32, x: usize, out: usize, scratch: usize): void {
  const bytes: usize = columns << 2;
  for (let row = 0; row < rows; row++, x += bytes, out += bytes) {
    memory.copy(scratch, x, bytes);
    softmax(1, columns, scratch, (columns + 3) & ~3);
    memory.copy(out, scratch, bytes);
  }
}
