import * as tf from '@tensorflow/tfjs-core';
import {
  CheckpointError,
  sizeOf,
  toCheckpointLayout,
  toTensorLayout,
  type StateDict,
  type TensorData,
} from '@pvt/core';
import { decayWeightsOnly, type Grouping, type Parameter } from './parameters.ts';

/** What an optimiser remembers, for checkpoints. */
export interface OptimizerState {
  readonly steps: number;
  /** By `slot/path`, in checkpoint layout, as the parameters are. */
  readonly slots: StateDict;
}

/** Moves parameters along their gradients. */
export interface Optimizer {
  readonly learningRate: number;
  /**
   * One step. Gradients are by path, in the parameters' layout in memory; a parameter without one stays as it is.
   *
   * @param factor on the learning rate, from a schedule
   */
  step(gradients: ReadonlyMap<string, Float32Array>, factor?: number): Promise<void>;
  state(): OptimizerState;
  /** @throws CheckpointError for slots that are not of these parameters */
  restore(state: OptimizerState): void;
}

/** An optimiser that waits for its parameters. */
export type OptimizerOf = (parameters: readonly Parameter[]) => Optimizer;

interface Rule {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly groups?: Grouping;
  readonly slots: readonly string[];
  /** Moves the weights and the slots, in place. */
  update(
    weights: Float32Array,
    gradient: Float32Array,
    slots: readonly Float32Array[],
    at: { readonly rate: number; readonly decay: number; readonly step: number },
  ): void;
}

/**
 * Works on the host, where one loop over a parameter is several times faster than a dozen kernels over it, and the
 * arithmetic is the same on every backend. Slots are kept by path, so that a state fits the parameters in any order.
 */
function optimizer({
  learningRate,
  weightDecay,
  groups = decayWeightsOnly,
  slots: names,
  update,
}: Rule): OptimizerOf {
  return (parameters) => {
    const slots = new Map<string, readonly Float32Array[]>();
    const byPath = new Map(
      parameters.map((parameter) => [parameter.path, { ...parameter, group: groups(parameter) }]),
    );
    let steps = 0;
    return {
      learningRate,
      async step(gradients, factor = 1) {
        steps++;
        for (const [path, { variable, group }] of byPath) {
          const gradient = gradients.get(path);
          if (gradient === undefined) continue;
          // A copy, because the cpu backend lends the array that it computes with.
          const weights = ((await variable.data()) as Float32Array).slice();
          const own = slots.get(path) ?? names.map(() => new Float32Array(weights.length));
          slots.set(path, own);
          update(weights, gradient, own, {
            rate: learningRate * factor * group.rate,
            decay: weightDecay * group.decay,
            step: steps,
          });
          tf.tidy(() => variable.assign(tf.tensor(weights, variable.shape)));
        }
      },
      state() {
        const state = new Map<string, TensorData>();
        for (const [path, own] of slots) {
          const { variable, spec } = byPath.get(path)!;
          for (const [i, name] of names.entries())
            state.set(
              `${name}/${path}`,
              toCheckpointLayout({ shape: variable.shape, values: own[i]!.slice() }, spec.layout),
            );
        }
        return { steps, slots: state };
      },
      restore(state) {
        const paths = [...byPath.keys()].filter((path) => state.slots.has(`${names[0]}/${path}`));
        const fits = (path: string) =>
          names.every(
            (name) =>
              state.slots.get(`${name}/${path}`)?.shape.join() === byPath.get(path)!.spec.shape.join(),
          );
        if (state.slots.size !== paths.length * names.length || !paths.every(fits)) {
          throw new CheckpointError(
            'optimizer-misfit',
            `Optimizer: expected the slots ${names.join(' and ')} of the parameters that train, got ${state.slots.size} slots, some of another optimizer or model, such as ${[...state.slots.keys()].slice(0, 2).join(', ')}; resume with the model, selection and optimizer of the run.`,
          );
        }
        slots.clear();
        steps = state.steps;
        for (const path of paths) {
          const { layout, shape } = byPath.get(path)!.spec;
          slots.set(
            path,
            names.map(
              (name) =>
                new Float32Array(
                  toTensorLayout(state.slots.get(`${name}/${path}`)!, layout).values.subarray(
                    0,
                    sizeOf(shape),
                  ),
                ),
            ),
          );
        }
      },
    };
  };
}

/** What both optimisers are told. */
export interface OptimizerOptions {
  readonly learningRate: number;
  /** 0 where absent for SGD, 0.05 for AdamW, as PVT was trained. */
  readonly weightDecay?: number;
  /** Which parameters decay and how fast each learns; {@link decayWeightsOnly} where absent. */
  readonly groups?: Grouping;
}

/**
 * AdamW (Loshchilov and Hutter, arXiv:1711.05101), the optimiser that PVT was trained with: weight decay apart from the
 * gradient, both moments bias-corrected, as in `torch.optim.AdamW`.
 *
 * @example
 * const optimizer = adamW({ learningRate: 1e-3 })(parametersOf(model));
 */
export const adamW = ({
  beta1 = 0.9,
  beta2 = 0.999,
  eps = 1e-8,
  weightDecay = 0.05,
  ...rest
}: OptimizerOptions & {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
}): OptimizerOf =>
  optimizer({
    ...rest,
    weightDecay,
    slots: ['mean', 'square'],
    update(weights, gradient, [mean, square], { rate, decay, step }) {
      const [move, spread] = [rate / (1 - beta1 ** step), 1 / Math.sqrt(1 - beta2 ** step)];
      for (let i = 0; i < weights.length; i++) {
        const slope = gradient[i]!;
        mean![i] = beta1 * mean![i]! + (1 - beta1) * slope;
        square![i] = beta2 * square![i]! + (1 - beta2) * slope * slope;
        weights[i] =
          weights[i]! * (1 - rate * decay) - (move * mean![i]!) / (Math.sqrt(square![i]!) * spread + eps);
      }
    },
  });

/**
 * Stochastic gradient descent with momentum, weight decay as part of the gradient, as in `torch.optim.SGD`.
 *
 * @example
 * const optimizer = sgd({ learningRate: 0.05, momentum: 0.9 })(parametersOf(model));
 */
export const sgd = ({
  momentum = 0.9,
  nesterov = false,
  weightDecay = 0,
  ...rest
}: OptimizerOptions & { readonly momentum?: number; readonly nesterov?: boolean }): OptimizerOf =>
  optimizer({
    ...rest,
    weightDecay,
    slots: ['momentum'],
    update(weights, gradient, [velocity], { rate, decay }) {
      for (let i = 0; i < weights.length; i++) {
        const slope = gradient[i]! + decay * weights[i]!;
        velocity![i] = momentum * velocity![i]! + slope;
        weights[i] = weights[i]! - rate * (nesterov ? slope + momentum * velocity![i]! : velocity![i]!);
      }
    },
  });

/**
 * The length of all gradients as one vector.
 *
 * @example
 * const norm = globalNorm([Float32Array.of(3), Float32Array.of(0, 4)]); // 5
 */
export function globalNorm(gradients: Iterable<Float32Array>): number {
  let squares = 0;
  for (const gradient of gradients)
    for (let i = 0; i < gradient.length; i++) squares += gradient[i]! * gradient[i]!;
  return Math.sqrt(squares);
}
