import * as tf from '@tensorflow/tfjs-core';
import {
  CheckpointError,
  toCheckpointLayout,
  toTensorLayout,
  type StateDict,
  type TensorData,
} from '@pvt/core';
import { stateEntries, type Models, type Parameter } from './parameters.ts';

/** The values of variables by path, in checkpoint layout. */
export async function readStateDict(entries: Iterable<Parameter>): Promise<StateDict> {
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
 * Writes weights into models, in place. Nothing is written unless all of them match.
 *
 * @throws CheckpointError `weights-misfit` for weights that are missing or of another shape
 * @example
 * loadWeights(model, snapshot.average ?? snapshot.weights);
 */
export function loadWeights(models: Models, weights: StateDict): void {
  const state = stateEntries(models);
  const missing = state.filter(({ path }) => !weights.has(path)).map(({ path }) => path);
  const mismatched = state.flatMap(({ path, spec: { shape } }) => {
    const found = weights.get(path)?.shape;
    return found === undefined || found.join() === shape.join() ? [] : [{ path, expected: shape, found }];
  });
  if (missing.length + mismatched.length > 0) {
    const first = missing[0] ?? mismatched[0]!.path;
    throw new CheckpointError(
      'weights-misfit',
      'loadWeights: expected weights of this model, ' +
        `got ${missing.length} missing and ${mismatched.length} of another ` +
        `shape, such as ${first}; load what the same model saved.`,
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
