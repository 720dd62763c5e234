import * as tf from '@tensorflow/tfjs-core';
import { DisposedError } from './errors.ts';
import { materialize } from './params/materialize.ts';
import type { ParamSource } from './params/source.ts';
import type { ParamsOf, Spec } from './params/spec.ts';

/** Parameters, the spec that names them, and the function over them. Only `dispose()` frees the parameters. */
export interface Model<
  S extends Spec = Spec,
  F extends (...inputs: never[]) => unknown = (...inputs: never[]) => unknown,
> {
  readonly spec: S;
  readonly params: ParamsOf<S>;
  readonly disposed: boolean;
  /** Inputs are borrowed; the outputs belong to the caller. @throws DisposedError after `dispose()` */
  readonly forward: F;
  /** Frees the parameters. Calling it again does nothing. */
  dispose(): void;
}

/**
 * Joins a spec, a source and a forward function into a model: all that a head of one's own needs.
 *
 * @throws CheckpointError where the source does not fit the spec
 * @example
 * const probe = createModel('probe', linearSpec(256, 2), randomInit(1), (params) => (x: tf.Tensor3D) => linear(x, params));
 */
export function createModel<S extends Spec, F extends (...inputs: never[]) => tf.TensorContainer | object>(
  name: string,
  spec: S,
  source: ParamSource,
  forward: (params: ParamsOf<S>) => F,
): Model<S, F> {
  const params = materialize(spec, source, name);
  const run = forward(params) as unknown as (...inputs: unknown[]) => tf.TensorContainer;
  let disposed = false;
  return {
    spec,
    params,
    get disposed() {
      return disposed;
    },
    // The tidy frees what an error halfway would leave; the layers free their own intermediates as they go.
    forward: ((...inputs: unknown[]) => {
      if (disposed) throw new DisposedError(name);
      return tf.tidy(() => run(...inputs));
    }) as unknown as F,
    dispose() {
      if (disposed) return;
      disposed = true;
      tf.dispose(params as tf.TensorContainer);
    },
  };
}
