import { activate, geluWithTable, geluTableBytes, writeGeluTable } from './activation';
import { Activation } from './generated/calls';
import { multiplyAdd } from './math';

/** Bytes of a band of the hidden map, which stays in the L2 cache between its two products. */
const bandBytes = 1 << 18;

/** Rows of a map in one band of a depthwise convolution with the product after it. */
export function bandRows(width: i32, channels: i32): i32 {
  return max(1, bandBytes / ((width * channels) << 2));
}

/** Channels in one chunk: three rows of them stay in the L1 cache, whatever the stride of the map. */
const channelsPerChunk = 32;

/** Bytes of one row of a chunk between zeros; outputs are computed four pixels at a time. */
function rowBytes(width: i32): usize {
  return (((width + 3) & ~3) + 2) * (channelsPerChunk << 2);
}

/**
 * Bytes of scratch that {@link depthwise} needs: three rows of inputs, one of outputs, filter, bias, GELU's
 * table.
 */
export function depthwiseScratch(width: i32): usize {
  return 4 * rowBytes(width) + 10 * (channelsPerChunk << 2) + geluTableBytes;
}

/** Copies `count` channels of each of the pixels between strides. */
function copyPixels(
  pixels: i32,
  count: usize,
  from: usize,
  fromStride: usize,
  to: usize,
  toStride: usize,
): void {
  for (let pixel = 0; pixel < pixels; pixel++, from += fromStride, to += toStride) {
    let c: usize = 0;
    for (; c + 64 <= count; c += 64) {
      v128.store(to + c, v128.load(from + c));
      v128.store(to + c, v128.load(from + c, 16), 16);
      v128.store(to + c, v128.load(from + c, 32), 32);
      v128.store(to + c, v128.load(from + c, 48), 48);
    }
    for (; c + 16 <= count; c += 16) v128.store(to + c, v128.load(from + c));
    for (; c < count; c += 4) f32.store(to + c, f32.load(from + c));
  }
}

/**
 * Depthwise 3x3 convolution of one image with stride 1 and padding 1, then an {@link Activation}, for `rows`
 * rows of the output from the row `first` on.
 *
 * @param x [height, width, channels]
 * @param filter [9, channels]
 * @param bias [channels], or 0
 * @param out [rows, width, channels]
 */
export function depthwise(
  height: i32,
  width: i32,
  channels: i32,
  first: i32,
  rows: i32,
  x: usize,
  filter: usize,
  bias: usize,
  out: usize,
  activation: i32,
  scratch: usize,
): void {
  const stride: usize = channels << 2;
  const mapRow = stride * width;
  const chunk: usize = channelsPerChunk << 2;
  const row = rowBytes(width);
  const outputs = scratch + 3 * row;
  const weights = outputs + row;
  const table = weights + 10 * chunk;
  if (activation === Activation.gelu) writeGeluTable(table);
  // Full chunks overwrite all but the padding, which stays zero; a chunk that is not full starts from zeros
  // again.
  memory.fill(scratch, 0, 4 * row + 10 * chunk);
  for (let channel: usize = 0; channel < stride; channel += chunk) {
    const count = min(chunk, stride - channel);
    if (count < chunk) memory.fill(scratch, 0, 4 * row + 10 * chunk);
    copyPixels(9, count, filter + channel, stride, weights, chunk);
    if (bias) copyPixels(1, count, bias + channel, 0, weights + 9 * chunk, 0);
    // Three row buffers rotate: the row above, this one and the one below.
    let above = scratch,
      here = scratch + row,
      below = here + row;
    let from = x + first * mapRow + channel;
    let to = out + channel;
    if (first > 0) copyPixels(width, count, from - mapRow, stride, above + chunk, chunk);
    else memory.fill(above, 0, row);
    copyPixels(width, count, from, stride, here + chunk, chunk);
    for (let y = first + 1; y <= first + rows; y++, to += mapRow) {
      from += mapRow;
      if (y < height) copyPixels(width, count, from, stride, below + chunk, chunk);
      else memory.fill(below, 0, row);
      for (let c: usize = 0; c < count; c += 16)
        convolveRow(width, above + c, here + c, below + c, weights + c, outputs + c);
      if (activation === Activation.gelu) geluWithTable(table, width * channelsPerChunk, outputs);
      else if (activation) activate(activation, width * channelsPerChunk, outputs);
      copyPixels(width, count, outputs, chunk, to, stride);
      const next = above;
      above = here;
      here = below;
      below = next;
    }
  }
}

/**
 * Four channels of a row of outputs, four pixels at a time. The loop over rows is not unrolled, so that
 * engines do not keep all of its loads in registers at once. It could be left after any tap, though it only
 * ends after the last one: that makes engines alternate between the four sums.
 */
function convolveRow(width: i32, above: usize, here: usize, below: usize, weights: usize, out: usize): void {
  const chunk: usize = channelsPerChunk << 2;
  const end = weights + 9 * chunk;
  const bias = v128.load(weights, 9 * (channelsPerChunk << 2));
  for (let x = 0; x < width; x += 4) {
    let s0 = bias,
      s1 = bias,
      s2 = bias,
      s3 = bias;
    let from = above,
      next = here,
      last = below;
    let w = weights;
    while (true) {
      const x0 = v128.load(from);
      const x1 = v128.load(from, channelsPerChunk << 2);
      const x2 = v128.load(from, 2 * (channelsPerChunk << 2));
      const x3 = v128.load(from, 3 * (channelsPerChunk << 2));
      const w0 = v128.load(w);
      s0 = multiplyAdd(x0, w0, s0);
      s1 = multiplyAdd(x1, w0, s1);
      s2 = multiplyAdd(x2, w0, s2);
      s3 = multiplyAdd(x3, w0, s3);
      w += chunk;
      if (w >= end) break;
      const x4 = v128.load(from, 4 * (channelsPerChunk << 2));
      const w1 = v128.load(w);
      s0 = multiplyAdd(x1, w1, s0);
      s1 = multiplyAdd(x2, w1, s1);
      s2 = multiplyAdd(x3, w1, s2);
      s3 = multiplyAdd(x4, w1, s3);
      w += chunk;
      if (w >= end) break;
      const x5 = v128.load(from, 5 * (channelsPerChunk << 2));
      const w2 = v128.load(w);
      s0 = multiplyAdd(x2, w2, s0);
      s1 = multiplyAdd(x3, w2, s1);
      s2 = multiplyAdd(x4, w2, s2);
      s3 = multiplyAdd(x5, w2, s3);
      w += chunk;
      if (w >= end) break;
      from = next;
      next = last;
    }
    v128.store(out, s0);
    v128.store(out, s1, channelsPerChunk << 2);
    v128.store(out, s2, 2 * (channelsPerChunk << 2));
    v128.store(out, s3, 3 * (channelsPerChunk << 2));
    above += chunk << 2;
    here += chunk << 2;
    below += chunk << 2;
    out += chunk << 2;
  }
}

/**
 * dFilter += gradient of {@link depthwise} with respect to its filter, one row of the map after another.
 *
 * @param dFilter [9, channels]
 */
export function depthwiseFilterGradient(
  height: i32,
  width: i32,
  channels: i32,
  x: usize,
  dy: usize,
  dFilter: usize,
): void {
  const bytes: usize = channels << 2;
  const rowBytes = width * bytes;
  for (let row = 0; row < height; row++) {
    const gradients = dy + row * rowBytes;
    for (let tap = 0; tap < 3; tap++) {
      const y = row + tap - 1;
      if (y < 0 || y >= height) continue;
      const inputs = x + y * rowBytes;
      const out = dFilter + tap * 3 * bytes;
      let c: usize = 0;
      for (; c + 16 <= bytes; c += 16) {
        let left = f32x4.splat(0),
          middle = left,
          right = left;
        let before = left;
        let here = v128.load(inputs + c);
        let from = inputs + c + bytes;
        let gradient = gradients + c;
        for (let column = 1; column < width; column++, from += bytes, gradient += bytes) {
          const d = v128.load(gradient);
          const after = v128.load(from);
          left = multiplyAdd(before, d, left);
          middle = multiplyAdd(here, d, middle);
          right = multiplyAdd(after, d, right);
          before = here;
          here = after;
        }
        const d = v128.load(gradient);
        left = multiplyAdd(before, d, left);
        middle = multiplyAdd(here, d, middle);
        v128.store(out + c, f32x4.add(v128.load(out + c), left));
        v128.store(out + bytes + c, f32x4.add(v128.load(out + bytes + c), middle));
        v128.store(out + 2 * bytes + c, f32x4.add(v128.load(out + 2 * bytes + c), right));
      }
      for (; c < bytes; c += 4) {
        let left: f32 = 0,
          middle: f32 = 0,
          right: f32 = 0;
        for (let column = 0; column < width; column++) {
          const d = f32.load(gradients + column * bytes + c);
          const from = inputs + column * bytes + c;
          if (column > 0) left += f32.load(from - bytes) * d;
          middle += f32.load(from) * d;
          if (column + 1 < width) right += f32.load(from + bytes) * d;
        }
        f32.store(out + c, f32.load(out + c) + left);
        f32.store(out + bytes + c, f32.load(out + bytes + c) + middle);
        f32.store(out + 2 * bytes + c, f32.load(out + 2 * bytes + c) + right);
      }
    }
  }
}
