import * as tf from '@tensorflow/tfjs-core';
import { toCheckpointLayout, toTensorLayout, type StateDict, type TensorData } from '@pvt/core';
import type { Parameter } from './parameters.ts';

/** A moving average of weights. */
export interface WeightAverage {
  /** Updates the average with the current weights. */
  update(): Promise<void>;
  /** Exchanges the average and the weights; a second call exchanges them back. */
  swap(): Promise<void>;
  /** The number of updates, and the average in checkpoint layout. */
  state(): { readonly steps: number; readonly weights: StateDict };
  restore(state: { readonly steps: number; readonly weights: StateDict }): void;
}

/**
 * An exponential moving average of weights (Polyak and Juditsky, 1992), which often scores better than the
 * weights themselves. In step n the decay is at most (1 + n) / (10 + n), so that short runs are averaged as
 * well.
 *
 * @param state parameters, and the buffers that belong to them
 * @param decay share of the average that a step retains
 * @example
 * const average = await averageWeights(parametersOf(model), 0.999);
 * await average.update();
 */
export async function averageWeights(state: readonly Parameter[], decay: number): Promise<WeightAverage> {
  const read = async ({ variable }: Parameter) => ((await variable.data()) as Float32Array).slice();
  const averages = new Map<string, Float32Array>();
  for (const parameter of state) averages.set(parameter.path, await read(parameter));
  let steps = 0;
  return {
    async update() {
      const retained = Math.min(decay, (1 + steps) / (10 + steps));
      steps++;
      for (const { path, variable } of state) {
        const average = averages.get(path)!;
        const values = (await variable.data()) as Float32Array;
        for (let i = 0; i < average.length; i++)
          average[i] = retained * average[i]! + (1 - retained) * values[i]!;
      }
    },
    async swap() {
      for (const parameter of state) {
        const { path, variable } = parameter;
        const current = await read(parameter);
        tf.tidy(() => variable.assign(tf.tensor(averages.get(path)!, variable.shape)));
        averages.set(path, current);
      }
    },
    state() {
      const weights = new Map<string, TensorData>();
      for (const { path, variable, spec } of state)
        weights.set(
          path,
          toCheckpointLayout({ shape: variable.shape, values: averages.get(path)!.slice() }, spec.layout),
        );
      return { steps, weights };
    },
    restore(from) {
      steps = from.steps;
      for (const { path, spec } of state) {
        const entry = from.weights.get(path);
        if (entry !== undefined) averages.set(path, toTensorLayout(entry, spec.layout).values.slice());
      }
    },
  };
}
