import { exponential, multiplyAdd } from './math';

/** Where the fit below, in float32, is 0 or 1 to the last bit: beyond it GELU is 0 or x itself. */
const reach: f32 = 5.1999945640563965;

/**
 * Φ(x) as 1/2 + x·P(x²)/Q(x²), fitted for the least error of x·Φ(x) up to 5.2: 1e-8 before rounding. The pseudo-minimum
 * and maximum keep NaN in this order, and are one instruction each.
 */
function distribution(x: v128): v128 {
  x = f32x4.pmax(f32x4.pmin(x, f32x4.splat(reach)), f32x4.splat(-reach));
  const w = f32x4.mul(x, x);
  let p = multiplyAdd(w, f32x4.splat(2.4038909529622288e-8), f32x4.splat(6.4623309299349785e-6));
  p = multiplyAdd(p, w, f32x4.splat(0.00016514092567376792));
  p = multiplyAdd(p, w, f32x4.splat(0.004657491110265255));
  p = multiplyAdd(p, w, f32x4.splat(0.033356305211782455));
  p = multiplyAdd(p, w, f32x4.splat(0.39894214272499084));
  let q = multiplyAdd(w, f32x4.splat(1.2429626394805382e-6), f32x4.splat(7.31618856661953e-5));
  q = multiplyAdd(q, w, f32x4.splat(0.0018633389845490456));
  q = multiplyAdd(q, w, f32x4.splat(0.02838944084942341));
  q = multiplyAdd(q, w, f32x4.splat(0.25027716159820557));
  q = multiplyAdd(q, w, f32x4.splat(1));
  return f32x4.add(f32x4.div(f32x4.mul(x, p), q), f32x4.splat(0.5));
}

function gelu4(x: v128): v128 {
  return f32x4.mul(x, distribution(x));
}

/** Φ(x) + x·φ(x). */
function geluSlope4(x: v128): v128 {
  const density = f32x4.mul(exponential(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5))), f32x4.splat(0.3989422804014327));
  return multiplyAdd(x, density, distribution(x));
}

/** y = GELU(x), exact; x and y may be the same. */
export function gelu(count: i32, x: usize, y: usize): void {
  const end = x + (count << 2);
  for (; x + 16 <= end; x += 16, y += 16) v128.store(y, gelu4(v128.load(x)));
  for (; x < end; x += 4, y += 4) v128.store32_lane(y, gelu4(v128.load32_splat(x)), 0);
}

/** dx = GELU'(x)·dy; dx may be dy. */
export function geluGradient(count: i32, x: usize, dy: usize, dx: usize): void {
  const end = x + (count << 2);
  for (; x + 16 <= end; x += 16, dy += 16, dx += 16) v128.store(dx, f32x4.mul(geluSlope4(v128.load(x)), v128.load(dy)));
  for (; x < end; x += 4, dy += 4, dx += 4) v128.store32_lane(dx, f32x4.mul(geluSlope4(v128.load32_splat(x)), v128.load32_splat(dy)), 0);
}

/** In place: 1 is ReLU, 2 is GELU. */
export function activate(kind: i32, count: i32, x: usize): void {
  if (kind === 2) return gelu(count, x, x);
  const end = x + (count << 2);
  for (; x + 16 <= end; x += 16) v128.store(x, f32x4.pmax(v128.load(x), f32x4.splat(0)));
  for (; x < end; x += 4) f32.store(x, max(f32.load(x), 0));
}
