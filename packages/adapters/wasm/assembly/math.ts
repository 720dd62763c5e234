/** Four float32 at a time. */

export function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  return f32x4.add(f32x4.mul(a, b), c);
}

export function sumOfLanes(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/**
 * e^x for x <= 0, relative error 1e-7: 2^n by the exponent's bits, the rest by the Taylor polynomial on [-ln 2 / 2, ln 2 / 2].
 * Below e^-80 it is 0: products of smaller numbers would be denormal, which processors are slow with.
 */
export function exponential(x: v128): v128 {
  const hidden = f32x4.lt(x, f32x4.splat(-80));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(Mathf.LOG2E)));
  // ln 2 is 355/512 less a little; products of n with the first are exact.
  const r = multiplyAdd(n, f32x4.splat(2.1219444005469057e-4), multiplyAdd(n, f32x4.splat(-355.0 / 512), x));
  let p = multiplyAdd(r, f32x4.splat(1.0 / 5040), f32x4.splat(1.0 / 720));
  p = multiplyAdd(p, r, f32x4.splat(1.0 / 120));
  p = multiplyAdd(p, r, f32x4.splat(1.0 / 24));
  p = multiplyAdd(p, r, f32x4.splat(1.0 / 6));
  p = multiplyAdd(p, r, f32x4.splat(0.5));
  p = multiplyAdd(p, r, f32x4.splat(1));
  p = multiplyAdd(p, r, f32x4.splat(1));
  return v128.andnot(f32x4.mul(p, i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23)), hidden);
}
