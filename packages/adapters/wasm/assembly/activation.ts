import { Activation } from './generated/calls';
import { exponential, multiplyAdd } from './math';

/** Beyond this |x|, Φ(x) as fitted below is exactly 0 or 1 in float32, and GELU is 0 or x itself. */
const limit: f32 = 5.1999945640563965;

/** In this order the pseudo-minimum and pseudo-maximum keep NaN; each is one instruction. */
function clamp(x: v128): v128 {
  return f32x4.pmax(f32x4.pmin(x, f32x4.splat(limit)), f32x4.splat(-limit));
}

/**
 * Φ(x) as 1/2 + x·P(x²)/Q(x²), fitted to minimise the error of x·Φ(x) for |x| up to 5.2: 1e-8 before
 * rounding. {@link writeGeluTable} has the same coefficients.
 */
function distribution(x: v128): v128 {
  x = clamp(x);
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
function geluGradient4(x: v128): v128 {
  const density = f32x4.mul(
    exponential(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5))),
    f32x4.splat(0.3989422804014327),
  );
  return multiplyAdd(x, density, distribution(x));
}

/** y = GELU(x), exact; x and y may be the same. */
export function gelu(count: i32, x: usize, y: usize): void {
  const end = x + (count << 2);
  for (; x + 16 <= end; x += 16, y += 16) v128.store(y, gelu4(v128.load(x)));
  for (; x < end; x += 4, y += 4) v128.store32_lane(y, gelu4(v128.load32_splat(x)), 0);
}

/** Bytes of the table that {@link geluWithTable} reads. */
export const geluTableBytes: usize = 12 << 4;

/** Writes the next coefficients of P and Q to a table, each four times. */
function writePair(table: usize, p: f32, q: f32): usize {
  v128.store(table, f32x4.splat(p));
  v128.store(table, f32x4.splat(q), 16);
  return table + 32;
}

/** Lays out the coefficients of {@link distribution} for {@link geluWithTable}. */
export function writeGeluTable(table: usize): void {
  table = writePair(table, 2.4038909529622288e-8, 1.2429626394805382e-6);
  table = writePair(table, 6.4623309299349785e-6, 7.31618856661953e-5);
  table = writePair(table, 0.00016514092567376792, 0.0018633389845490456);
  table = writePair(table, 0.004657491110265255, 0.02838944084942341);
  table = writePair(table, 0.033356305211782455, 0.25027716159820557);
  writePair(table, 0.39894214272499084, 1);
}

/** x·Φ(x) for the x at an address, from the clamped x and the values of both polynomials. */
function geluFromPolynomials(from: usize, x: v128, p: v128, q: v128): v128 {
  return f32x4.mul(v128.load(from), f32x4.add(f32x4.div(f32x4.mul(x, p), q), f32x4.splat(0.5)));
}

/**
 * {@link gelu} in place, with the coefficients of a table; `count` is a multiple of 16. Sixteen values go
 * through the polynomials side by side, because each step of one has to wait for the step before. The loop
 * over the steps is not unrolled, so that engines keep this order.
 */
export function geluWithTable(table: usize, count: i32, x: usize): void {
  const tableEnd = table + geluTableBytes;
  for (const end = x + (count << 2); x < end; x += 64) {
    const x0 = clamp(v128.load(x));
    const x1 = clamp(v128.load(x, 16));
    const x2 = clamp(v128.load(x, 32));
    const x3 = clamp(v128.load(x, 48));
    const w0 = f32x4.mul(x0, x0);
    const w1 = f32x4.mul(x1, x1);
    const w2 = f32x4.mul(x2, x2);
    const w3 = f32x4.mul(x3, x3);
    let p0 = v128.load(table),
      p1 = p0,
      p2 = p0,
      p3 = p0;
    let q0 = v128.load(table, 16),
      q1 = q0,
      q2 = q0,
      q3 = q0;
    for (let at = table + 32; at < tableEnd; at += 32) {
      const p = v128.load(at);
      p0 = multiplyAdd(p0, w0, p);
      p1 = multiplyAdd(p1, w1, p);
      p2 = multiplyAdd(p2, w2, p);
      p3 = multiplyAdd(p3, w3, p);
      const q = v128.load(at, 16);
      q0 = multiplyAdd(q0, w0, q);
      q1 = multiplyAdd(q1, w1, q);
      q2 = multiplyAdd(q2, w2, q);
      q3 = multiplyAdd(q3, w3, q);
    }
    v128.store(x, geluFromPolynomials(x, x0, p0, q0));
    v128.store(x, geluFromPolynomials(x + 16, x1, p1, q1), 16);
    v128.store(x, geluFromPolynomials(x + 32, x2, p2, q2), 32);
    v128.store(x, geluFromPolynomials(x + 48, x3, p3, q3), 48);
  }
}

/** dx = GELU'(x)·dy; dx may be dy. */
export function geluGradient(count: i32, x: usize, dy: usize, dx: usize): void {
  const end = x + (count << 2);
  for (; x + 16 <= end; x += 16, dy += 16, dx += 16)
    v128.store(dx, f32x4.mul(geluGradient4(v128.load(x)), v128.load(dy)));
  for (; x < end; x += 4, dy += 4, dx += 4)
    v128.store32_lane(dx, f32x4.mul(geluGradient4(v128.load32_splat(x)), v128.load32_splat(dy)), 0);
}

/** Applies an {@link Activation} other than none, in place. */
export function activate(kind: i32, count: i32, x: usize): void {
  if (kind === Activation.gelu) return gelu(count, x, x);
  const end = x + (count << 2);
  for (; x + 16 <= end; x += 16) v128.store(x, f32x4.pmax(v128.load(x), f32x4.splat(0)));
  for (; x < end; x += 4) f32.store(x, max(f32.load(x), 0));
}
