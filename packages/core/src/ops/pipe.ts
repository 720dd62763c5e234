import type { Tensor } from '@tensorflow/tfjs-core';

/**
 * Applies functions one after another and frees every intermediate as soon as the next one exists. The input
 * is borrowed, the last result belongs to the caller. This is what keeps a forward's peak memory at a few
 * maps: a `tf.tidy` around the same calls would hold all of them.
 *
 * @example
 * const y = pipe(x, (t) => linear(t, fc1), gelu, (t) => linear(t, fc2));
 */
export function pipe<A extends Tensor, B extends Tensor>(input: A, f1: (x: A) => B): B;
export function pipe<A extends Tensor, B extends Tensor, C extends Tensor>(
  input: A,
  f1: (x: A) => B,
  f2: (x: B) => C,
): C;
export function pipe<A extends Tensor, B extends Tensor, C extends Tensor, D extends Tensor>(
  input: A,
  f1: (x: A) => B,
  f2: (x: B) => C,
  f3: (x: C) => D,
): D;
export function pipe<
  A extends Tensor,
  B extends Tensor,
  C extends Tensor,
  D extends Tensor,
  E extends Tensor,
>(input: A, f1: (x: A) => B, f2: (x: B) => C, f3: (x: C) => D, f4: (x: D) => E): E;
export function pipe<
  A extends Tensor,
  B extends Tensor,
  C extends Tensor,
  D extends Tensor,
  E extends Tensor,
  F extends Tensor,
>(input: A, f1: (x: A) => B, f2: (x: B) => C, f3: (x: C) => D, f4: (x: D) => E, f5: (x: E) => F): F;
export function pipe<
  A extends Tensor,
  B extends Tensor,
  C extends Tensor,
  D extends Tensor,
  E extends Tensor,
  F extends Tensor,
  G extends Tensor,
>(
  input: A,
  f1: (x: A) => B,
  f2: (x: B) => C,
  f3: (x: C) => D,
  f4: (x: D) => E,
  f5: (x: E) => F,
  f6: (x: F) => G,
): G;
/** Any number of functions that do not change the rank. */
export function pipe<T extends Tensor>(input: T, ...steps: readonly ((x: T) => T)[]): T;
export function pipe(input: Tensor, ...steps: readonly ((x: Tensor) => Tensor)[]): Tensor {
  let current = input;
  for (const step of steps) {
    const next = step(current);
    if (current !== input && current !== next) current.dispose();
    current = next;
  }
  return current;
}
