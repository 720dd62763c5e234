import * as tf from '@tensorflow/tfjs-core';
import type { Recompute, TrainingContext } from '@pvt/core';
import { valueAndGradients } from './backward.ts';

/** The same record with every tensor replaced. */
function mapTensors<T>(tree: T, change: (tensor: tf.Tensor) => tf.Tensor): T {
  if (tree instanceof tf.Tensor) return change(tree) as T;
  if (Array.isArray(tree)) return tree.map((node) => mapTensors(node, change)) as T;
  return Object.fromEntries(
    Object.entries(tree as object).map(([key, node]) => [key, mapTensors(node, change)]),
  ) as T;
}

/**
 * Makes a forward retain only the inputs of its blocks and recompute the rest in the backward pass, with the
 * same random numbers (gradient checkpointing; Chen et al., arXiv:1604.06174).
 *
 * @example
 * const output = backbone.forward(pixels, { training: true, random, recompute: recomputed });
 */
export const recomputed: Recompute = <X extends tf.Tensor, P extends object, Y extends tf.Tensor>(
  x: X,
  params: P,
  context: TrainingContext,
  compute: (x: X, params: P, context: TrainingContext) => Y,
): Y => {
  const leaves: tf.Tensor[] = [x];
  mapTensors(params, (tensor) => {
    leaves.push(tensor);
    return tensor;
  });
  const before = context.random.clone();
  const run = ([x, ...rest]: readonly tf.Tensor[], random = context.random): Y => {
    let next = 0;
    return compute(
      x as X,
      mapTensors(params, () => rest[next++]!),
      { ...context, random },
    );
  };
  const block = tf.customGrad((...given) => {
    const save = given.pop() as tf.GradSaveFunc;
    const inputs = given as tf.Tensor[];
    save(inputs);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const { value, gradients } = valueAndGradients(() => run(saved, before.clone()), saved, dy);
      value.dispose();
      return gradients.map((gradient, i) => gradient ?? tf.zerosLike(saved[i]!));
    };
    return { value: run(inputs), gradFunc };
  });
  return block(...leaves) as Y;
};
