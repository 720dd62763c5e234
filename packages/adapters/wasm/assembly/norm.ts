import { multiplyAdd, sumOfLanes } from './math';

/**
 * Layer normalisation of `rows` rows of `channels` values; the mean is subtracted before squares are summed.
 */
export function layerNorm(
  rows: i32,
  channels: i32,
  x: usize,
  weight: usize,
  bias: usize,
  out: usize,
  eps: f32,
): void {
  const stride: usize = channels << 2;
  const share: f32 = 1 / f32(channels);
  for (let row = 0; row < rows; row++, x += stride, out += stride) {
    let sums0 = f32x4.splat(0),
      sums1 = sums0;
    let c: usize = 0;
    for (; c + 32 <= stride; c += 32) {
      sums0 = f32x4.add(sums0, v128.load(x + c));
      sums1 = f32x4.add(sums1, v128.load(x + c, 16));
    }
    let sum = sumOfLanes(f32x4.add(sums0, sums1));
    for (; c < stride; c += 4) sum += f32.load(x + c);
    const mean = sum * share;
    const means = f32x4.splat(mean);

    sums0 = f32x4.splat(0);
    sums1 = sums0;
    for (c = 0; c + 32 <= stride; c += 32) {
      const d0 = f32x4.sub(v128.load(x + c), means);
      const d1 = f32x4.sub(v128.load(x + c, 16), means);
      sums0 = multiplyAdd(d0, d0, sums0);
      sums1 = multiplyAdd(d1, d1, sums1);
    }
    sum = sumOfLanes(f32x4.add(sums0, sums1));
    for (; c < stride; c += 4) {
      const d = f32.load(x + c) - mean;
      sum += d * d;
    }
    const inverse: f32 = 1 / sqrt<f32>(sum * share + eps);
    const inverses = f32x4.splat(inverse);
    for (c = 0; c + 16 <= stride; c += 16) {
      const normalised = f32x4.mul(f32x4.sub(v128.load(x + c), means), inverses);
      v128.store(out + c, multiplyAdd(normalised, v128.load(weight + c), v128.load(bias + c)));
    }
    for (; c < stride; c += 4)
      f32.store(out + c, (f32.load(x + c) - mean) * inverse * f32.load(weight + c) + f32.load(bias + c));
  }
}

/**
 * Gradients of {@link layerNorm}: dx, and sums over rows that are added to dWeight and dBias.
 *
 * @param scratch of 2·channels floats
 */
export function layerNormGradient(
  rows: i32,
  channels: i32,
  x: usize,
  weight: usize,
  dy: usize,
  dx: usize,
  dWeight: usize,
  dBias: usize,
  scratch: usize,
  eps: f32,
): void {
  const stride: usize = channels << 2;
  const share: f32 = 1 / f32(channels);
  for (let row = 0; row < rows; row++, x += stride, dy += stride, dx += stride) {
    // Partial sums over 128 rows lose less precision.
    if (row % 128 === 0) {
      if (row > 0) addSums(stride, scratch, dWeight, dBias);
      memory.fill(scratch, 0, 2 * stride);
    }
    let sums = f32x4.splat(0);
    let c: usize = 0;
    for (; c + 16 <= stride; c += 16) sums = f32x4.add(sums, v128.load(x + c));
    let sum = sumOfLanes(sums);
    for (; c < stride; c += 4) sum += f32.load(x + c);
    const mean = sum * share;
    const means = f32x4.splat(mean);

    // Σ d², Σ w·dy and Σ w·dy·d, where d is x minus its mean.
    let squares = f32x4.splat(0),
      gradients = squares,
      products = squares;
    for (c = 0; c + 16 <= stride; c += 16) {
      const d = f32x4.sub(v128.load(x + c), means);
      const gradient = f32x4.mul(v128.load(weight + c), v128.load(dy + c));
      squares = multiplyAdd(d, d, squares);
      gradients = f32x4.add(gradients, gradient);
      products = multiplyAdd(gradient, d, products);
    }
    let square = sumOfLanes(squares),
      gradient = sumOfLanes(gradients),
      product = sumOfLanes(products);
    for (; c < stride; c += 4) {
      const d = f32.load(x + c) - mean;
      const s = f32.load(weight + c) * f32.load(dy + c);
      square += d * d;
      gradient += s;
      product += s * d;
    }
    const inverse: f32 = 1 / sqrt<f32>(square * share + eps);
    const meanGradient: f32 = gradient * share;
    const along: f32 = product * share * inverse * inverse;
    for (c = 0; c + 16 <= stride; c += 16) {
      const d = f32x4.sub(v128.load(x + c), means);
      const y = v128.load(dy + c);
      const rest = f32x4.sub(
        f32x4.sub(f32x4.mul(v128.load(weight + c), y), f32x4.splat(meanGradient)),
        f32x4.mul(d, f32x4.splat(along)),
      );
      v128.store(dx + c, f32x4.mul(rest, f32x4.splat(inverse)));
      v128.store(scratch + c, multiplyAdd(f32x4.mul(d, f32x4.splat(inverse)), y, v128.load(scratch + c)));
      v128.store(scratch + stride + c, f32x4.add(y, v128.load(scratch + stride + c)));
    }
    for (; c < stride; c += 4) {
      const d = f32.load(x + c) - mean;
      const y = f32.load(dy + c);
      f32.store(dx + c, (f32.load(weight + c) * y - meanGradient - d * along) * inverse);
      f32.store(scratch + c, f32.load(scratch + c) + d * inverse * y);
      f32.store(scratch + stride + c, f32.load(scratch + stride + c) + y);
    }
  }
  addSums(stride, scratch, dWeight, dBias);
}

function addSums(stride: usize, sums: usize, dWeight: usize, dBias: usize): void {
  for (let c: usize = 0; c < stride; c += 4) {
    f32.store(dWeight + c, f32.load(dWeight + c) + f32.load(sums + c));
    f32.store(dBias + c, f32.load(dBias + c) + f32.load(sums + stride + c));
  }
}
