import * as tf from '@tensorflow/tfjs-core';
import { TrainingError } from './errors.ts';

type Tape = ReturnType<typeof tf.engine>['state']['activeTape'];
type TapeNode = Tape[number];

/**
 * A tape that retains only what depends on `xs`; of a frozen backbone, for one, nothing is retained in
 * memory.
 */
class DependentTape extends Array<TapeNode> {
  readonly #dependent: Set<number>;

  constructor(xs: readonly tf.Tensor[]) {
    super();
    this.#dependent = new Set(xs.map(({ id }) => id));
  }

  depends({ id }: tf.Tensor): boolean {
    return this.#dependent.has(id);
  }

  override push(node: TapeNode): number {
    if (!Object.values(node.inputs).some((input) => this.depends(input))) {
      tf.dispose(node.saved ?? []);
      return this.length;
    }
    for (const { id } of node.outputs) this.#dependent.add(id);
    return super.push(node);
  }
}

/** Runs f on a tape of its own. */
function record<T extends tf.Tensor>(
  f: () => T,
  xs: readonly tf.Tensor[],
): { readonly value: T; readonly tape: DependentTape } {
  const { state } = tf.engine();
  const { activeTape, gradientDepth } = state;
  const tape = new DependentTape(xs);
  Object.assign(state, { activeTape: tape, gradientDepth: 1 });
  try {
    return { value: tf.tidy(f), tape };
  } catch (error) {
    for (const { saved } of tape) tf.dispose(saved ?? []);
    throw error;
  } finally {
    Object.assign(state, { activeTape, gradientDepth });
  }
}

/**
 * f() and its gradients. tfjs's own `grads` retain everything that the forward and backward passes compute
 * until both are over; here each backward step frees what it was the last to need, and gradients may be
 * nested.
 *
 * @param dy gradient at the value. Default: ones
 * @returns value and gradients, owned by the caller; a gradient is undefined if f does not depend on that x
 * @throws TrainingError `gradient-missing` for an op without a gradient
 * @example
 * const { value, gradients: [dx] } = valueAndGradients(() => tf.sum(tf.square(x)), [x]);
 */
export function valueAndGradients<T extends tf.Tensor>(
  f: () => T,
  xs: readonly tf.Tensor[],
  dy?: tf.Tensor,
): { readonly value: T; readonly gradients: readonly (tf.Tensor | undefined)[] } {
  const { value, tape } = record(f, xs);
  const gradients = new Map<number, tf.Tensor>([[value.id, dy?.clone() ?? tf.onesLike(value)]]);
  const requested = new Set(xs.map(({ id }) => id));
  try {
    for (let node = tape.pop(); node !== undefined; node = tape.pop()) {
      const { inputs, outputs, saved = [] } = node;
      const outputGradients = outputs.map(({ id }) => gradients.get(id));
      if (outputGradients.some((gradient) => gradient !== undefined)) {
        const names = Object.keys(inputs).filter((name) => tape.depends(inputs[name]!));
        for (const [i, gradient] of inputGradients(node, outputGradients, names).entries()) {
          const { id } = inputs[names[i]!]!;
          const before = gradients.get(id);
          gradients.set(id, before === undefined ? gradient : tf.add(before, gradient));
          if (before !== undefined) tf.dispose([before, gradient]);
        }
      }
      for (const { id } of outputs) {
        if (requested.has(id)) continue;
        gradients.get(id)?.dispose();
        gradients.delete(id);
      }
      tf.dispose(saved);
    }
  } finally {
    for (const { saved } of tape) tf.dispose(saved ?? []);
  }
  return { value, gradients: xs.map(({ id }) => gradients.get(id)) };
}

/** The gradients of one op's named inputs, each a tensor of its own. */
function inputGradients(
  { kernelName, gradient, saved = [] }: TapeNode,
  outputGradients: readonly (tf.Tensor | undefined)[],
  names: readonly string[],
): tf.Tensor[] {
  if (gradient === undefined)
    throw new TrainingError(
      'gradient-missing',
      `valueAndGradients: expected ops that have gradients, got ${kernelName}; ` +
        'register one with tf.registerGradient, or write the loss without it.',
    );
  return tf.tidy(() => {
    const byName = gradient(outputGradients as tf.Tensor[]);
    return names.map((name) => {
      const one = byName[name]!();
      return outputGradients.includes(one) || saved.includes(one) ? one.clone() : one;
    });
  });
}
