import * as tf from '@tensorflow/tfjs-core';
import { DisposedError } from './errors.ts';
import { materialize } from './params/materialize.ts';
import type { ParamSource } from './params/source.ts';
import type { ParamsOf, Spec } from './params/spec.ts';

/**
 * Parameters, the spec that names them, and the function over them. Only `dispose()` frees the parameters.
 */
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
 * @param name names the model in error messages
 * @param properties what else the model shows, such as its `config` and `features`
 * @throws CheckpointError if the source does not fit the spec
 * @example
 * const forward = (params) => (x: tf.Tensor3D) => linear(x, params);
 * const probe = createModel('probe', linearSpec(256, 2), randomInit(1), forward, { classes: 2 });
 */
export function createModel<
  S extends Spec,
  F extends (...inputs: never[]) => tf.TensorContainer | object,
  P extends object = Record<never, never>,
>(
  name: string,
  spec: S,
  source: ParamSource,
  forward: (params: ParamsOf<S>) => F,
  properties: P = {} as P,
): Model<S, F> & Readonly<P> {
  const params = materialize(spec, source, name);
  const run = forward(params);
  let disposed = false;
  // The tidy frees what an error halfway would leave; the layers free their own intermediates as they go.
  const guarded = (...inputs: never[]) => {
    if (disposed) throw new DisposedError(name);
    // tf.tidy handles objects and lists of any structure, but its type does not say so.
    return tf.tidy(() => run(...inputs) as tf.TensorContainer);
  };
  const model: Model<S, F> = {
    spec,
    params,
    get disposed() {
      return disposed;
    },
    forward: guarded as F,
    dispose() {
      if (disposed) return;
      disposed = true;
      tf.dispose(params as tf.TensorContainer);
    },
  };
  return Object.assign(model, properties);
}
