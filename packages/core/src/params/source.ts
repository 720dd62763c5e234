import { sizeOf, type ParamSpec } from './spec.ts';
import { createRandom } from '../random.ts';

/**
 * Anything that parameters can come from: random numbers, a checkpoint, another model. Values are float32 in the
 * checkpoint's (PyTorch's) layout, so a source knows nothing of backends.
 */
export interface ParamSource {
  /** The parameter's shape in the source, or undefined where the source does not have it. */
  shape(path: string, leaf: ParamSpec): readonly number[] | undefined;
  /**
   * The parameter's values, row-major. Only called for paths that `shape` knows. The array is borrowed, never written to;
   * a source that has none to lend may write into `room`, which the caller will use again.
   */
  values(path: string, leaf: ParamSpec, room?: Float32Array): Float32Array;
}

/** Parameters held in memory by canonical path, in checkpoint layout. */
export type StateDict = ReadonlyMap<
  string,
  { readonly shape: readonly number[]; readonly values: Float32Array }
>;

/**
 * A source that reads a state dict.
 *
 * @example
 * const backbone = createPvt(config, fromStateDict(new Map([['stages.0.norm.bias', { shape: [64], values }]])));
 */
export function fromStateDict(state: StateDict): ParamSource {
  return {
    shape: (path) => state.get(path)?.shape,
    values: (path) => state.get(path)!.values,
  };
}

/**
 * A source that draws every parameter from its initialiser. Each parameter has its own stream, keyed by seed and
 * path, so the same seed gives the same numbers on every backend, in any order, whatever else the model contains.
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
      for (let i = 0; i < values.length; i++) {
        if (init.kind === 'uniform') {
          values[i] = (2 * random.uniform() - 1) * init.bound;
          continue;
        }
        let value = random.normal() * init.std;
        while (init.kind === 'truncatedNormal' && Math.abs(value) > 2) value = random.normal() * init.std;
        values[i] = value;
      }
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
    values: (path, leaf, room) => source.values(`${prefix}.${path}`, leaf, room),
  };
}
