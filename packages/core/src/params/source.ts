import { createRandom, type Random } from '../random.ts';
import type { TensorData } from './layout.ts';
import { sizeOf, type Initializer, type ParamSpec } from './spec.ts';

/**
 * Anything that parameters can come from: random numbers, a checkpoint, another model. Values are float32 in
 * the checkpoint's (PyTorch's) layout, so a source knows nothing of backends.
 */
export interface ParamSource {
  /** The parameter's shape in the source, or undefined if the source does not have it. */
  shape(path: string, leaf: ParamSpec): readonly number[] | undefined;
  /** The parameter's values, row-major; a borrowed array. Only called for paths that `shape` knows. */
  values(path: string, leaf: ParamSpec): Float32Array;
  /**
   * Like `values`, for sources that have to read or decode them: they may write into `target`, which has the
   * parameter's size and is reused for the next parameter. Returns the array that holds the values, which may
   * be another one. Default: `values`.
   */
  readInto?(path: string, leaf: ParamSpec, target: Float32Array): Float32Array;
}

/** Parameters in memory by canonical path, in checkpoint layout. */
export type StateDict = ReadonlyMap<string, TensorData>;

/**
 * A source that reads a state dict.
 *
 * @example
 * const state = new Map([['weight', { shape: [2, 256], values: new Float32Array(512) }]]);
 * const params = materialize(linearSpec(256, 2, { bias: false }), fromStateDict(state), 'my head');
 */
export function fromStateDict(state: StateDict): ParamSource {
  return {
    shape: (path) => state.get(path)?.shape,
    values: (path) => state.get(path)!.values,
  };
}

/** One value from an initializer other than `constant`. */
function draw(init: Exclude<Initializer, { kind: 'constant' }>, random: Random): number {
  if (init.kind === 'uniform') return (2 * random.uniform() - 1) * init.bound;
  let value = random.normal() * init.std;
  while (init.kind === 'truncatedNormal' && Math.abs(value) > 2) value = random.normal() * init.std;
  return value;
}

/**
 * A source that draws every parameter from its initializer. Each parameter has its own stream, keyed by seed
 * and path, so the same seed gives the same numbers on every backend, in any order, whatever else the model
 * contains.
 *
 * @example
 * const backbone = createPvt(config, randomInit(42));
 */
export function randomInit(seed: number): ParamSource {
  return {
    shape: (_path, leaf) => leaf.shape,
    values(path, { shape, init }) {
      const values = new Float32Array(sizeOf(shape));
      if (init.kind === 'constant') return values.fill(init.value);
      const random = createRandom(`${seed}/${path}`);
      for (let i = 0; i < values.length; i++) values[i] = draw(init, random);
      return values;
    },
  };
}

/**
 * The part of a source below a prefix, as PyTorch's module paths nest.
 *
 * @example
 * const head = createClassificationHead({ channels: 256, classes: 10 }, scoped(source, 'head'));
 */
export function scoped(source: ParamSource, prefix: string): ParamSource {
  return {
    shape: (path, leaf) => source.shape(`${prefix}.${path}`, leaf),
    values: (path, leaf) => source.values(`${prefix}.${path}`, leaf),
    readInto: (path, leaf, target) => readInto(source, `${prefix}.${path}`, leaf, target),
  };
}

/** A parameter's values, read into `target` by sources that can do so. */
export const readInto = (
  source: ParamSource,
  path: string,
  leaf: ParamSpec,
  target: Float32Array,
): Float32Array => source.readInto?.(path, leaf, target) ?? source.values(path, leaf);
