import * as tf from '@tensorflow/tfjs-core';
import { TrainingError } from './errors.ts';

type Tape = ReturnType<typeof tf.engine>['state']['activeTape'];
type TapeNode = Tape[number];

/** A tape that keeps what depends on `xs` alone; of the rest nothing is kept in memory, as of a frozen backbone. */
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

/** Runs f with a tape of its own. */
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
 * f() and its gradients. tfjs's own `grads` hold everything that forward and backward pass computed until both are over;
 * here each step of the way back frees what it was the last to need, and gradients may be taken within gradients.
 *
 * @param dy slope at the value, 1 where absent
 * @returns value and gradients, the caller's to free; undefined where f does not depend on an x
 * @throws TrainingError for an op without gradient
 * @example
 * const { value, gradients: [slope] } = valueAndGradients(() => tf.sum(tf.square(x)), [x]);
 */
export function valueAndGradients<T extends tf.Tensor>(
  f: () => T,
  xs: readonly tf.Tensor[],
  dy?: tf.Tensor,
): { readonly value: T; readonly gradients: readonly (tf.Tensor | undefined)[] } {
  const { value, tape } = record(f, xs);
  const slopes = new Map<number, tf.Tensor>([[value.id, dy?.clone() ?? tf.onesLike(value)]]);
  const wanted = new Set(xs.map(({ id }) => id));
  try {
    for (let node = tape.pop(); node !== undefined; node = tape.pop()) {
      const { inputs, outputs, saved = [] } = node;
      const given = outputs.map(({ id }) => slopes.get(id));
      if (given.some((slope) => slope !== undefined)) {
        const names = Object.keys(inputs).filter((name) => tape.depends(inputs[name]!));
        for (const [i, slope] of slopesOf(node, given, names).entries()) {
          const { id } = inputs[names[i]!]!;
          const before = slopes.get(id);
          slopes.set(id, before === undefined ? slope : tf.add(before, slope));
          if (before !== undefined) tf.dispose([before, slope]);
        }
      }
      for (const { id } of outputs) {
        if (wanted.has(id)) continue;
        slopes.get(id)?.dispose();
        slopes.delete(id);
      }
      tf.dispose(saved);
    }
  } finally {
    for (const { saved } of tape) tf.dispose(saved ?? []);
  }
  return { value, gradients: xs.map(({ id }) => slopes.get(id)) };
}

/** The slopes of one op's inputs, each a tensor of its own. */
function slopesOf(
  { kernelName, gradient, saved = [] }: TapeNode,
  given: readonly (tf.Tensor | undefined)[],
  names: readonly string[],
): tf.Tensor[] {
  if (gradient === undefined)
    throw new TrainingError(
      'gradient-missing',
      `valueAndGradients: expected ops that have gradients, got ${kernelName}; register one with tf.registerGradient or write the loss without it.`,
    );
  return tf.tidy(() => {
    const slopes = gradient(given as tf.Tensor[]);
    return names.map((name) => {
      const slope = slopes[name]!();
      return given.includes(slope) || saved.includes(slope) ? slope.clone() : slope;
    });
  });
}
