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

/** The state of an optimizer, for checkpoints. */
export interface OptimizerState {
  readonly steps: number;
  /** By `slot/path`, in checkpoint layout like the parameters. */
  readonly slots: StateDict;
}

/** Updates parameters by their gradients. */
export interface Optimizer {
  readonly learningRate: number;
  /**
   * One step. Gradients are by path, in the parameters' layout in memory; a parameter without one is not
   * changed.
   *
   * @param factor on the learning rate, from a schedule. Default: 1
   */
  step(gradients: ReadonlyMap<string, Float32Array>, factor?: number): Promise<void>;
  state(): OptimizerState;
  /** @throws CheckpointError `optimizer-misfit` for slots of other parameters */
  restore(state: OptimizerState): void;
}

/** Creates an optimizer for parameters. */
export type OptimizerFactory = (parameters: readonly Parameter[]) => Optimizer;

interface Rule {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly groups?: Grouping;
  readonly slots: readonly string[];
  /** Updates the weights and the slots in place. */
  update(
    weights: Float32Array,
    gradient: Float32Array,
    slots: readonly Float32Array[],
    at: { readonly rate: number; readonly decay: number; readonly step: number },
  ): void;
}

/**
 * Computes on the host, where one loop over a parameter is several times faster than a dozen kernels, and the
 * arithmetic is the same on every backend. Slots are named by path, so that a state does not depend on the
 * parameters' order.
 */
function optimizer({
  learningRate,
  weightDecay,
  groups = decayWeightsOnly,
  slots: names,
  update,
}: Rule): OptimizerFactory {
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
          const arrays = slots.get(path) ?? names.map(() => new Float32Array(weights.length));
          slots.set(path, arrays);
          update(weights, gradient, arrays, {
            rate: learningRate * factor * group.rate,
            decay: weightDecay * group.decay,
            step: steps,
          });
          tf.tidy(() => variable.assign(tf.tensor(weights, variable.shape)));
        }
      },
      state() {
        const state = new Map<string, TensorData>();
        for (const [path, arrays] of slots) {
          const { variable, spec } = byPath.get(path)!;
          for (const [i, name] of names.entries())
            state.set(
              `${name}/${path}`,
              toCheckpointLayout({ shape: variable.shape, values: arrays[i]!.slice() }, spec.layout),
            );
        }
        return { steps, slots: state };
      },
      restore(state) {
        const restored = restoredSlots(parameters, names, state);
        steps = state.steps;
        slots.clear();
        for (const [path, arrays] of restored) slots.set(path, arrays);
      },
    };
  };
}

/** The arrays of a state by path, in memory's layout; parameters that have not been updated yet have none. */
function restoredSlots(
  parameters: readonly Parameter[],
  names: readonly string[],
  state: OptimizerState,
): (readonly [path: string, arrays: readonly Float32Array[]])[] {
  const updated = parameters.filter(({ path }) => state.slots.has(`${names[0]}/${path}`));
  const matches = ({ path, spec }: Parameter): boolean =>
    names.every((name) => state.slots.get(`${name}/${path}`)?.shape.join() === spec.shape.join());
  if (state.slots.size !== updated.length * names.length || !updated.every(matches)) {
    throw new CheckpointError(
      'optimizer-misfit',
      `Optimizer: expected the slots ${names.join(' and ')} of the parameters that train, ` +
        `got ${state.slots.size} slots, some of another optimizer or model, such as ` +
        `${[...state.slots.keys()].slice(0, 2).join(', ')}; ` +
        'resume with the model, selection and optimizer of the run.',
    );
  }
  const arrayOf = (name: string, { path, spec: { layout, shape } }: Parameter): Float32Array => {
    const { values } = toTensorLayout(state.slots.get(`${name}/${path}`)!, layout);
    return new Float32Array(values.subarray(0, sizeOf(shape)));
  };
  return updated.map((parameter) => [parameter.path, names.map((name) => arrayOf(name, parameter))]);
}

/** Options of both optimizers. */
export interface OptimizerOptions {
  readonly learningRate: number;
  /** Default: 0 for SGD, 0.05 for AdamW, as PVT was trained. */
  readonly weightDecay?: number;
  /** Factors on the learning rate and weight decay of each parameter. Default: {@link decayWeightsOnly}. */
  readonly groups?: Grouping;
}

/**
 * AdamW (Loshchilov and Hutter, arXiv:1711.05101), with which PVT was trained: decoupled weight decay and
 * bias correction of both moments, as in `torch.optim.AdamW`.
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
}): OptimizerFactory =>
  optimizer({
    ...rest,
    weightDecay,
    slots: ['mean', 'square'],
    update(weights, gradient, [mean, square], { rate, decay, step }) {
      const [stepSize, rootCorrection] = [rate / (1 - beta1 ** step), 1 / Math.sqrt(1 - beta2 ** step)];
      for (let i = 0; i < weights.length; i++) {
        const g = gradient[i]!;
        mean![i] = beta1 * mean![i]! + (1 - beta1) * g;
        square![i] = beta2 * square![i]! + (1 - beta2) * g * g;
        weights[i] =
          weights[i]! * (1 - rate * decay) -
          (stepSize * mean![i]!) / (Math.sqrt(square![i]!) * rootCorrection + eps);
      }
    },
  });

/**
 * Stochastic gradient descent with momentum and weight decay in the gradient, as in `torch.optim.SGD`.
 *
 * @example
 * const optimizer = sgd({ learningRate: 0.05, momentum: 0.9 })(parametersOf(model));
 */
export const sgd = ({
  momentum = 0.9,
  nesterov = false,
  weightDecay = 0,
  ...rest
}: OptimizerOptions & { readonly momentum?: number; readonly nesterov?: boolean }): OptimizerFactory =>
  optimizer({
    ...rest,
    weightDecay,
    slots: ['momentum'],
    update(weights, gradient, [velocity], { rate, decay }) {
      for (let i = 0; i < weights.length; i++) {
        const g = gradient[i]! + decay * weights[i]!;
        velocity![i] = momentum * velocity![i]! + g;
        weights[i] = weights[i]! - rate * (nesterov ? g + momentum * velocity![i]! : velocity![i]!);
      }
    },
  });

/**
 * The Euclidean norm of all gradients together.
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
