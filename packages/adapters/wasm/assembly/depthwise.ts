import { activate } from './activation';
import { multiplyAdd } from './math';

/** Where row `y`, column `x` of a map lies, or zeros for one outside of it. */
function pixel(map: usize, height: i32, width: i32, bytes: usize, y: i32, x: i32, zeros: usize): usize {
  return y < 0 || y >= height || x < 0 || x >= width ? zeros : map + (y * width + x) * bytes;
}

/**
 * Depthwise 3x3 convolution of one picture, stride 1 and a frame of zeros, then the activation (0 none, 1 ReLU, 2 GELU).
 * Two by two outputs at once: 16 inputs and 9 weights serve 36 products.
 *
 * @param x [height, width, channels]
 * @param filter [9, channels]
 * @param bias [channels], or 0
 * @param scratch of `channels` floats
 */
export function depthwise(height: i32, width: i32, channels: i32, x: usize, filter: usize, bias: usize, out: usize, activation: i32, scratch: usize): void {
  const bytes: usize = channels << 2;
  memory.fill(scratch, 0, bytes);
  if (bias === 0) bias = scratch;
  for (let row = 0; row < height; row += 2) {
    const second = row + 1 < height;
    for (let column = 0; column < width; column += 2) {
      let p00 = pixel(x, height, width, bytes, row - 1, column - 1, scratch);
      let p01 = pixel(x, height, width, bytes, row - 1, column, scratch);
      let p02 = pixel(x, height, width, bytes, row - 1, column + 1, scratch);
      let p03 = pixel(x, height, width, bytes, row - 1, column + 2, scratch);
      let p10 = pixel(x, height, width, bytes, row, column - 1, scratch);
      let p11 = pixel(x, height, width, bytes, row, column, scratch);
      let p12 = pixel(x, height, width, bytes, row, column + 1, scratch);
      let p13 = pixel(x, height, width, bytes, row, column + 2, scratch);
      let p20 = pixel(x, height, width, bytes, row + 1, column - 1, scratch);
      let p21 = pixel(x, height, width, bytes, row + 1, column, scratch);
      let p22 = pixel(x, height, width, bytes, row + 1, column + 1, scratch);
      let p23 = pixel(x, height, width, bytes, row + 1, column + 2, scratch);
      let p30 = pixel(x, height, width, bytes, row + 2, column - 1, scratch);
      let p31 = pixel(x, height, width, bytes, row + 2, column, scratch);
      let p32 = pixel(x, height, width, bytes, row + 2, column + 1, scratch);
      let p33 = pixel(x, height, width, bytes, row + 2, column + 2, scratch);
      // Outputs outside of the map fall onto ones inside, which are written after them.
      const o00 = out + (row * width + column) * bytes;
      const o01 = column + 1 < width ? o00 + bytes : o00;
      const o10 = second ? o00 + width * bytes : o00;
      const o11 = second ? o01 + width * bytes : o01;
      let c: usize = 0;
      for (; c + 16 <= bytes; c += 16) {
        let s00 = v128.load(bias + c), s01 = s00, s10 = s00, s11 = s00;
        let f = filter + c;
        const w0 = v128.load(f), w1 = v128.load(f + bytes), w2 = v128.load(f + 2 * bytes);
        f += 3 * bytes;
        const w3 = v128.load(f), w4 = v128.load(f + bytes), w5 = v128.load(f + 2 * bytes);
        f += 3 * bytes;
        const w6 = v128.load(f), w7 = v128.load(f + bytes), w8 = v128.load(f + 2 * bytes);
        let a = v128.load(p00 + c), b = v128.load(p01 + c), d = v128.load(p02 + c), e = v128.load(p03 + c);
        s00 = multiplyAdd(a, w0, s00);
        s00 = multiplyAdd(b, w1, s00);
        s01 = multiplyAdd(b, w0, s01);
        s00 = multiplyAdd(d, w2, s00);
        s01 = multiplyAdd(d, w1, s01);
        s01 = multiplyAdd(e, w2, s01);
        a = v128.load(p10 + c);
        b = v128.load(p11 + c);
        d = v128.load(p12 + c);
        e = v128.load(p13 + c);
        s00 = multiplyAdd(a, w3, s00);
        s10 = multiplyAdd(a, w0, s10);
        s00 = multiplyAdd(b, w4, s00);
        s01 = multiplyAdd(b, w3, s01);
        s10 = multiplyAdd(b, w1, s10);
        s11 = multiplyAdd(b, w0, s11);
        s00 = multiplyAdd(d, w5, s00);
        s01 = multiplyAdd(d, w4, s01);
        s10 = multiplyAdd(d, w2, s10);
        s11 = multiplyAdd(d, w1, s11);
        s01 = multiplyAdd(e, w5, s01);
        s11 = multiplyAdd(e, w2, s11);
        a = v128.load(p20 + c);
        b = v128.load(p21 + c);
        d = v128.load(p22 + c);
        e = v128.load(p23 + c);
        s00 = multiplyAdd(a, w6, s00);
        s10 = multiplyAdd(a, w3, s10);
        s00 = multiplyAdd(b, w7, s00);
        s01 = multiplyAdd(b, w6, s01);
        s10 = multiplyAdd(b, w4, s10);
        s11 = multiplyAdd(b, w3, s11);
        s00 = multiplyAdd(d, w8, s00);
        s01 = multiplyAdd(d, w7, s01);
        s10 = multiplyAdd(d, w5, s10);
        s11 = multiplyAdd(d, w4, s11);
        s01 = multiplyAdd(e, w8, s01);
        s11 = multiplyAdd(e, w5, s11);
        a = v128.load(p30 + c);
        b = v128.load(p31 + c);
        d = v128.load(p32 + c);
        e = v128.load(p33 + c);
        s10 = multiplyAdd(a, w6, s10);
        s10 = multiplyAdd(b, w7, s10);
        s11 = multiplyAdd(b, w6, s11);
        s10 = multiplyAdd(d, w8, s10);
        s11 = multiplyAdd(d, w7, s11);
        s11 = multiplyAdd(e, w8, s11);
        v128.store(o11 + c, s11);
        v128.store(o10 + c, s10);
        v128.store(o01 + c, s01);
        v128.store(o00 + c, s00);
      }
      for (; c < bytes; c += 4) {
        const f = filter + c;
        f32.store(o11 + c, one(p11 + c, p12 + c, p13 + c, p21 + c, p22 + c, p23 + c, p31 + c, p32 + c, p33 + c, f, bytes, bias + c));
        f32.store(o10 + c, one(p10 + c, p11 + c, p12 + c, p20 + c, p21 + c, p22 + c, p30 + c, p31 + c, p32 + c, f, bytes, bias + c));
        f32.store(o01 + c, one(p01 + c, p02 + c, p03 + c, p11 + c, p12 + c, p13 + c, p21 + c, p22 + c, p23 + c, f, bytes, bias + c));
        f32.store(o00 + c, one(p00 + c, p01 + c, p02 + c, p10 + c, p11 + c, p12 + c, p20 + c, p21 + c, p22 + c, f, bytes, bias + c));
      }
    }
    if (activation) activate(activation, (second ? 2 : 1) * width * channels, out + row * width * bytes);
  }
}

/** A single output of a single channel, for channels that fill no vector. */
function one(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize, h: usize, i: usize, filter: usize, bytes: usize, bias: usize): f32 {
  let sum = f32.load(bias);
  sum += f32.load(a) * f32.load(filter) + f32.load(b) * f32.load(filter + bytes) + f32.load(c) * f32.load(filter + 2 * bytes);
  filter += 3 * bytes;
  sum += f32.load(d) * f32.load(filter) + f32.load(e) * f32.load(filter + bytes) + f32.load(f) * f32.load(filter + 2 * bytes);
  filter += 3 * bytes;
  return sum + f32.load(g) * f32.load(filter) + f32.load(h) * f32.load(filter + bytes) + f32.load(i) * f32.load(filter + 2 * bytes);
}

/**
 * dFilter += the gradient of {@link depthwise} for its filter, row after row of the map.
 *
 * @param dFilter [9, channels]
 */
export function depthwiseFilterGradient(height: i32, width: i32, channels: i32, x: usize, dy: usize, dFilter: usize): void {
  const bytes: usize = channels << 2;
  const rowBytes = width * bytes;
  for (let row = 0; row < height; row++) {
    const slopes = dy + row * rowBytes;
    for (let tap = 0; tap < 3; tap++) {
      const y = row + tap - 1;
      if (y < 0 || y >= height) continue;
      const inputs = x + y * rowBytes;
      const out = dFilter + tap * 3 * bytes;
      let c: usize = 0;
      for (; c + 16 <= bytes; c += 16) {
        let left = f32x4.splat(0), middle = left, right = left;
        let before = left;
        let here = v128.load(inputs + c);
        let from = inputs + c + bytes;
        let slope = slopes + c;
        for (let column = 1; column < width; column++, from += bytes, slope += bytes) {
          const d = v128.load(slope);
          const after = v128.load(from);
          left = multiplyAdd(before, d, left);
          middle = multiplyAdd(here, d, middle);
          right = multiplyAdd(after, d, right);
          before = here;
          here = after;
        }
        const d = v128.load(slope);
        left = multiplyAdd(before, d, left);
        middle = multiplyAdd(here, d, middle);
        v128.store(out + c, f32x4.add(v128.load(out + c), left));
        v128.store(out + bytes + c, f32x4.add(v128.load(out + bytes + c), middle));
        v128.store(out + 2 * bytes + c, f32x4.add(v128.load(out + 2 * bytes + c), right));
      }
      for (; c < bytes; c += 4) {
        let left: f32 = 0, middle: f32 = 0, right: f32 = 0;
        for (let column = 0; column < width; column++) {
          const d = f32.load(slopes + column * bytes + c);
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
