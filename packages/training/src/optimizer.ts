import * as tf from '@tensorflow/tfjs-core';
import { CheckpointError, type StateDict } from '@pvt/core';
import { decayWeightsOnly, type Grouping, type Parameter } from './parameters.ts';
import { readState, tensorOf } from './state.ts';

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
   * One step. Gradients are borrowed, by path; a parameter without one stays as it is.
   *
   * @param factor on the learning rate, from a schedule
   */
  step(gradients: ReadonlyMap<string, tf.Tensor>, factor?: number): void;
  state(): Promise<OptimizerState>;
  /** @throws CheckpointError for slots that are not of these parameters */
  restore(state: OptimizerState): void;
  dispose(): void;
}

/** An optimiser that waits for its parameters. */
export type OptimizerOf = (parameters: readonly Parameter[]) => Optimizer;

interface Rule<Slot extends string> {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly groups?: Grouping;
  readonly slots: readonly Slot[];
  /** The parameter's new value and the new slots; everything is tidied afterwards. */
  update(value: tf.Tensor, gradient: tf.Tensor, slots: Record<Slot, tf.Tensor>, at: { readonly rate: number; readonly decay: number; readonly step: number }): { readonly value: tf.Tensor } & Record<Slot, tf.Tensor>;
}

/** Slots are kept by path, so that a state fits the same parameters in any order. */
function optimizer<Slot extends string>({ learningRate, weightDecay, groups = decayWeightsOnly, slots: names, update }: Rule<Slot>): OptimizerOf {
  return (parameters) => {
    const slots = new Map<string, tf.Variable>();
    const byPath = new Map(parameters.map((parameter) => [parameter.path, { ...parameter, group: groups(parameter) }]));
    let steps = 0;
    const slotOf = (slot: Slot, path: string, start: () => tf.Tensor): tf.Variable => {
      const key = `${slot}/${path}`;
      const found = slots.get(key) ?? tf.variable(start(), false);
      slots.set(key, found);
      return found;
    };
    return {
      learningRate,
      step(gradients, factor = 1) {
        steps++;
        for (const [path, { variable, group }] of byPath) {
          const gradient = gradients.get(path);
          if (gradient === undefined) continue;
          tf.tidy(() => {
            const own = Object.fromEntries(names.map((name) => [name, slotOf(name, path, () => tf.zerosLike(variable))])) as Record<Slot, tf.Variable>;
            const next = update(variable, gradient, own, { rate: learningRate * factor * group.rate, decay: weightDecay * group.decay, step: steps });
            variable.assign(next.value);
            for (const name of names) own[name].assign(next[name]);
          });
        }
      },
      async state() {
        const entries = Array.from(slots, ([key, variable]) => ({ path: key, variable, spec: byPath.get(pathOf(key))!.spec }));
        return { steps, slots: await readState(entries) };
      },
      restore(state) {
        const strange = [...state.slots].filter(([key, { shape }]) => !names.some((name) => key.startsWith(`${name}/`)) || byPath.get(pathOf(key))?.spec.shape.join() !== shape.join());
        if (strange.length > 0) {
          throw new CheckpointError('optimizer-misfit', `Optimizer: expected the state of the parameters that train (slots ${names.join(', ')}), got ${strange.length} entries beside them, such as ${strange[0]![0]}; resume with the same model, selection and optimizer.`);
        }
        tf.dispose([...slots.values()]);
        slots.clear();
        steps = state.steps;
        for (const [key, entry] of state.slots) {
          slots.set(key, tf.tidy(() => tf.variable(tensorOf(entry, byPath.get(pathOf(key))!.spec), false)));
        }
      },
      dispose() {
        tf.dispose([...slots.values()]);
        slots.clear();
      },
    };
  };
}

const pathOf = (key: string): string => key.slice(key.indexOf('/') + 1);

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
export const adamW = ({ beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0.05, ...rest }: OptimizerOptions & { readonly beta1?: number; readonly beta2?: number; readonly eps?: number }): OptimizerOf =>
  optimizer({
    ...rest,
    weightDecay,
    slots: ['mean', 'square'],
    update(value, gradient, slots, { rate, decay, step }) {
      const mean = tf.add(tf.mul(slots.mean, beta1), tf.mul(gradient, 1 - beta1));
      const square = tf.add(tf.mul(slots.square, beta2), tf.mul(tf.square(gradient), 1 - beta2));
      const size = tf.add(tf.mul(tf.sqrt(square), 1 / Math.sqrt(1 - beta2 ** step)), eps);
      const move = tf.mul(tf.div(mean, size), rate / (1 - beta1 ** step));
      return { mean, square, value: tf.sub(decay === 0 ? value : tf.mul(value, 1 - rate * decay), move) };
    },
  });

/**
 * Stochastic gradient descent with momentum, weight decay as part of the gradient, as in `torch.optim.SGD`.
 *
 * @example
 * const optimizer = sgd({ learningRate: 0.05, momentum: 0.9 })(parametersOf(model));
 */
export const sgd = ({ momentum = 0.9, nesterov = false, weightDecay = 0, ...rest }: OptimizerOptions & { readonly momentum?: number; readonly nesterov?: boolean }): OptimizerOf =>
  optimizer({
    ...rest,
    weightDecay,
    slots: ['momentum'],
    update(value, gradient, slots, { rate, decay }) {
      const slope = decay === 0 ? gradient : tf.add(gradient, tf.mul(value, decay));
      const velocity = tf.add(tf.mul(slots.momentum, momentum), slope);
      const move = nesterov ? tf.add(slope, tf.mul(velocity, momentum)) : velocity;
      return { momentum: velocity, value: tf.sub(value, tf.mul(move, rate)) };
    },
  });

/**
 * The length of all gradients as one vector.
 *
 * @example
 * const norm = globalNorm(gradients.values());
 */
export const globalNorm = (gradients: Iterable<tf.Tensor>): tf.Scalar =>
  tf.tidy(() => tf.sqrt(tf.sum(tf.stack(Array.from(gradients, (gradient) => tf.sum(tf.square(gradient)))))) as tf.Scalar);
