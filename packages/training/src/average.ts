import * as tf from '@tensorflow/tfjs-core';
import type { StateDict } from '@pvt/core';
import type { Parameter } from './parameters.ts';
import { readState, tensorOf } from './state.ts';

/** A moving average of weights. */
export interface WeightAverage {
  /** Takes the current weights in. */
  update(): void;
  /** Exchanges the averages and the weights; a second call exchanges them back. */
  swap(): void;
  /** Steps taken in, and the averages in checkpoint layout. */
  state(): Promise<{ readonly steps: number; readonly weights: StateDict }>;
  restore(state: { readonly steps: number; readonly weights: StateDict }): void;
  dispose(): void;
}

/**
 * An exponential moving average of weights (Polyak and Juditsky, 1992), which often scores better than the weights
 * themselves. In the first steps it follows faster, by (1 + n) / (10 + n), so that short runs are averaged, too.
 *
 * @param state parameters, and the buffers that go with them
 * @param decay share of the average that a step keeps
 * @example
 * const average = averageWeights(parametersOf(model), 0.999);
 * average.swap(); // validate
 * average.swap();
 */
export function averageWeights(state: readonly Parameter[], decay: number): WeightAverage {
  const averages = new Map(state.map((parameter) => [parameter.path, { ...parameter, average: tf.tidy(() => tf.variable(parameter.variable.clone(), false)) }]));
  let steps = 0;
  return {
    update() {
      const keep = Math.min(decay, (1 + steps) / (10 + steps));
      steps++;
      for (const { variable, average } of averages.values()) tf.tidy(() => average.assign(tf.add(tf.mul(average, keep), tf.mul(variable, 1 - keep))));
    },
    swap() {
      for (const { variable, average } of averages.values()) {
        tf.tidy(() => {
          const own = variable.clone();
          variable.assign(average.clone());
          average.assign(own);
        });
      }
    },
    async state() {
      return { steps, weights: await readState(Array.from(averages.values(), ({ path, spec, average }) => ({ path, spec, variable: average }))) };
    },
    restore(state) {
      steps = state.steps;
      for (const [path, { average, spec }] of averages) {
        const entry = state.weights.get(path);
        if (entry !== undefined) tf.tidy(() => average.assign(tensorOf(entry, spec)));
      }
    },
    dispose() {
      tf.dispose(Array.from(averages.values(), ({ average }) => average));
    },
  };
}
