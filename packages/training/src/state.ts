import * as tf from '@tensorflow/tfjs-core';
import {
  CheckpointError,
  toCheckpointLayout,
  toTensorLayout,
  type StateDict,
  type TensorData,
} from '@pvt/core';
import { stateOf, type Models, type Parameter } from './parameters.ts';

/** Values of variables by path, in checkpoint layout. */
export async function readState(entries: Iterable<Parameter>): Promise<StateDict> {
  const state = new Map<string, TensorData>();
  for (const { path, variable, spec } of entries)
    state.set(
      path,
      toCheckpointLayout(
        { shape: variable.shape, values: ((await variable.data()) as Float32Array).slice() },
        spec.layout,
      ),
    );
  return state;
}

/**
 * Puts stored weights back into models, in place; nothing is written unless all of them fit.
 *
 * @throws CheckpointError for weights that are missing or of another shape
 * @example
 * loadWeights(model, snapshot.average ?? snapshot.weights);
 */
export function loadWeights(models: Models, weights: StateDict): void {
  const state = stateOf(models);
  const missing = state.filter(({ path }) => !weights.has(path)).map(({ path }) => path);
  const mismatched = state.flatMap(({ path, spec: { shape } }) => {
    const found = weights.get(path)?.shape;
    return found === undefined || found.join() === shape.join() ? [] : [{ path, expected: shape, found }];
  });
  if (missing.length + mismatched.length > 0) {
    const first = missing[0] ?? mismatched[0]!.path;
    throw new CheckpointError(
      'weights-misfit',
      `loadWeights: expected weights of this model, got ${missing.length} missing and ${mismatched.length} of another shape, such as ${first}; load what the same model saved.`,
      { missing, mismatched },
    );
  }
  for (const { path, variable, spec } of state)
    tf.tidy(() =>
      variable.assign(
        tf.tensor(toTensorLayout(weights.get(path)!, spec.layout).values.slice(), variable.shape),
      ),
    );
}
