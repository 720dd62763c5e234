/* Functions of four float32 at a time. */

export function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  return f32x4.add(f32x4.mul(a, b), c);
}

export function sumOfLanes(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) +
    f32x4.extract_lane(v, 1) +
    (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

/**
 * Added to a much smaller number it rounds that number to an integer, which appears, plus 127, in the last
 * bits of the sum: the biased exponent of a float.
 */
const rounder: f32 = 12582912 + 127;

/** x / ln 2, rounded to an integer by {@link rounder}. */
function exponentBits(x: v128): v128 {
  return f32x4.add(f32x4.mul(x, f32x4.splat(Mathf.LOG2E)), f32x4.splat(rounder));
}

/**
 * x - n·ln 2, at most ln 2 / 2 in size. ln 2 is split into 355/512, whose products with n are exact, and a
 * rest.
 */
function exponentRest(x: v128, bits: v128): v128 {
  const n = f32x4.sub(bits, f32x4.splat(rounder));
  return multiplyAdd(n, f32x4.splat(2.1219444005469057e-4), multiplyAdd(n, f32x4.splat(-355.0 / 512), x));
}

/** 2^n times the polynomial, or 0 for x below -80. */
function scaled(p: v128, bits: v128, x: v128): v128 {
  return v128.andnot(f32x4.mul(p, i32x4.shl(bits, 23)), f32x4.lt(x, f32x4.splat(-80)));
}

/**
 * e^x for x <= 0 with a relative error of 1e-7: 2^n through the exponent's bits, the rest through a Taylor
 * polynomial on [-ln 2 / 2, ln 2 / 2]. Below e^-80 it is 0: products of smaller numbers would be subnormal,
 * which processors are slow with.
 */
export function exponential(x: v128): v128 {
  const bits = exponentBits(x);
  const r = exponentRest(x, bits);
  let p = multiplyAdd(r, f32x4.splat(1.0 / 5040), f32x4.splat(1.0 / 720));
  p = multiplyAdd(p, r, f32x4.splat(1.0 / 120));
  p = multiplyAdd(p, r, f32x4.splat(1.0 / 24));
  p = multiplyAdd(p, r, f32x4.splat(1.0 / 6));
  p = multiplyAdd(p, r, f32x4.splat(0.5));
  p = multiplyAdd(p, r, f32x4.splat(1));
  p = multiplyAdd(p, r, f32x4.splat(1));
  return scaled(p, bits, x);
}

/**
 * {@link exponential} of vectors from x to end, in place. Four of them go through the polynomial side by
 * side, because each of its steps has to wait for the step before. The loop could be left after any step,
 * though it never is: without these exits engines would compute one vector after the other.
 */
export function exponentials(x: usize, end: usize): void {
  while (x + 64 <= end) {
    const at = x;
    const x0 = v128.load(at),
      x1 = v128.load(at, 16),
      x2 = v128.load(at, 32),
      x3 = v128.load(at, 48);
    const b0 = exponentBits(x0),
      b1 = exponentBits(x1),
      b2 = exponentBits(x2),
      b3 = exponentBits(x3);
    const r0 = exponentRest(x0, b0),
      r1 = exponentRest(x1, b1),
      r2 = exponentRest(x2, b2),
      r3 = exponentRest(x3, b3);
    let p0: v128, p1: v128, p2: v128, p3: v128;
    while (true) {
      p0 = multiplyAdd(r0, f32x4.splat(1.0 / 5040), f32x4.splat(1.0 / 720));
      p1 = multiplyAdd(r1, f32x4.splat(1.0 / 5040), f32x4.splat(1.0 / 720));
      p2 = multiplyAdd(r2, f32x4.splat(1.0 / 5040), f32x4.splat(1.0 / 720));
      p3 = multiplyAdd(r3, f32x4.splat(1.0 / 5040), f32x4.splat(1.0 / 720));
      x += 8;
      if (x > end) break;
      p0 = multiplyAdd(p0, r0, f32x4.splat(1.0 / 120));
      p1 = multiplyAdd(p1, r1, f32x4.splat(1.0 / 120));
      p2 = multiplyAdd(p2, r2, f32x4.splat(1.0 / 120));
      p3 = multiplyAdd(p3, r3, f32x4.splat(1.0 / 120));
      x += 8;
      if (x > end) break;
      p0 = multiplyAdd(p0, r0, f32x4.splat(1.0 / 24));
      p1 = multiplyAdd(p1, r1, f32x4.splat(1.0 / 24));
      p2 = multiplyAdd(p2, r2, f32x4.splat(1.0 / 24));
      p3 = multiplyAdd(p3, r3, f32x4.splat(1.0 / 24));
      x += 8;
      if (x > end) break;
      p0 = multiplyAdd(p0, r0, f32x4.splat(1.0 / 6));
      p1 = multiplyAdd(p1, r1, f32x4.splat(1.0 / 6));
      p2 = multiplyAdd(p2, r2, f32x4.splat(1.0 / 6));
      p3 = multiplyAdd(p3, r3, f32x4.splat(1.0 / 6));
      x += 8;
      if (x > end) break;
      p0 = multiplyAdd(p0, r0, f32x4.splat(0.5));
      p1 = multiplyAdd(p1, r1, f32x4.splat(0.5));
      p2 = multiplyAdd(p2, r2, f32x4.splat(0.5));
      p3 = multiplyAdd(p3, r3, f32x4.splat(0.5));
      x += 8;
      if (x > end) break;
      p0 = multiplyAdd(p0, r0, f32x4.splat(1));
      p1 = multiplyAdd(p1, r1, f32x4.splat(1));
      p2 = multiplyAdd(p2, r2, f32x4.splat(1));
      p3 = multiplyAdd(p3, r3, f32x4.splat(1));
      x += 8;
      if (x > end) break;
      p0 = multiplyAdd(p0, r0, f32x4.splat(1));
      p1 = multiplyAdd(p1, r1, f32x4.splat(1));
      p2 = multiplyAdd(p2, r2, f32x4.splat(1));
      p3 = multiplyAdd(p3, r3, f32x4.splat(1));
      break;
    }
    v128.store(at, scaled(p0, b0, v128.load(at)));
    v128.store(at, scaled(p1, b1, v128.load(at, 16)), 16);
    v128.store(at, scaled(p2, b2, v128.load(at, 32)), 32);
    v128.store(at, scaled(p3, b3, v128.load(at, 48)), 48);
    x = at + 64;
  }
  for (; x < end; x += 16) v128.store(x, exponential(v128.load(x)));
}
