import type * as tf from '@tensorflow/tfjs-core';

/**
 * How a checkpoint lays a parameter out, which decides how its axes are permuted in memory (see layout.ts):
 * `plain` stays as it is; `linear` is (out, in); `convolution` (out, in, height, width); `depthwise`
 * (channels, 1, height, width).
 */
export type Layout = 'plain' | 'linear' | 'convolution' | 'depthwise';

/** How a parameter is initialized when no checkpoint has it. */
export type Initializer =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'normal'; readonly std: number }
  /**
   * Normal, truncated at -2 and 2 (absolute values, not multiples of `std`), as in timm's `trunc_normal_`.
   */
  | { readonly kind: 'truncatedNormal'; readonly std: number }
  | { readonly kind: 'uniform'; readonly bound: number };

/** One parameter, described without allocating it. `shape` is the checkpoint's (PyTorch's) shape. */
export interface ParamSpec<T extends tf.Tensor = tf.Tensor> {
  readonly shape: readonly number[];
  readonly layout: Layout;
  readonly init: Initializer;
  /** A statistic that a forward updates: stored in checkpoints, never trained, not counted. */
  readonly buffer?: true;
  /** Only carries the tensor's type; never present at run time. */
  readonly tensor?: T;
}

/** A tree of parameters. Joining the keys with dots gives the canonical checkpoint names. */
export type Spec = ParamSpec | readonly Spec[] | { readonly [key: string]: Spec | undefined };

/** The record of tensors that a spec describes: the same tree with a tensor at each leaf. */
export type ParamsOf<S> = S extends (...args: never[]) => infer R
  ? ParamsOf<R>
  : S extends ParamSpec<infer T>
    ? T
    : S extends readonly (infer U)[]
      ? readonly ParamsOf<U>[]
      : { readonly [K in keyof S]: ParamsOf<S[K]> };

export function isParamSpec(node: Spec): node is ParamSpec {
  return !Array.isArray(node) && typeof (node as ParamSpec).layout === 'string';
}

/** One value per channel, which starts at a constant: scales, shifts and statistics of norms. */
export const perChannel = (channels: number, value: number): ParamSpec<tf.Tensor1D> => ({
  shape: [channels],
  layout: 'plain',
  init: { kind: 'constant', value },
});

/** Number of values in a shape; 1 for a scalar. */
export const sizeOf = (shape: readonly number[]): number =>
  shape.reduce((product, side) => product * side, 1);

/**
 * Every leaf of a spec with its path, in the order of the forward pass.
 *
 * @example
 * for (const [path, leaf] of leavesOf(backbone.spec)) console.log(path, leaf.shape);
 */
export function* leavesOf(spec: Spec, path = ''): Generator<[path: string, leaf: ParamSpec]> {
  if (isParamSpec(spec)) {
    yield [path, spec];
    return;
  }
  for (const [key, child] of Object.entries(spec) as [string, Spec | undefined][]) {
    if (child !== undefined) yield* leavesOf(child, path === '' ? key : `${path}.${key}`);
  }
}

/** Number of trainable values that a spec describes. */
export function countParams(spec: Spec): number {
  let count = 0;
  for (const [, leaf] of leavesOf(spec)) if (!leaf.buffer) count += sizeOf(leaf.shape);
  return count;
}
