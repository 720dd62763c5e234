import * as tf from '@tensorflow/tfjs-core';

/** The same record with every tensor replaced. */
function mapTensors<T>(tree: T, change: (tensor: tf.Tensor) => tf.Tensor): T {
  if (tree instanceof tf.Tensor) return change(tree) as T;
  if (Array.isArray(tree)) return tree.map((node) => mapTensors(node, change)) as T;
  return Object.fromEntries(Object.entries(tree as object).map(([key, node]) => [key, mapTensors(node, change)])) as T;
}

/**
 * f(x, params), of which the tape keeps the inputs alone: the backward pass computes f again and goes back through that
 * (Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174).
 *
 * @param compute pure: called again with the same inputs, it must give the same
 */
export function recomputed<X extends tf.Tensor, P extends object, Y extends tf.Tensor>(x: X, params: P, compute: (x: X, params: P) => Y): Y {
  const leaves: tf.Tensor[] = [x];
  mapTensors(params, (tensor) => {
    leaves.push(tensor);
    return tensor;
  });
  const run = ([x, ...rest]: readonly tf.Tensor[]): tf.Tensor => {
    let next = 0;
    return compute(x as X, mapTensors(params, () => rest[next++]!));
  };
  const outer = tf.customGrad((...given) => {
    const save = given.pop() as tf.GradSaveFunc;
    const inputs = given as tf.Tensor[];
    save(inputs);
    return { value: run(inputs), gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => nested(() => tf.grads((...again) => run(again))(saved, dy)) };
  });
  return outer(...leaves) as Y;
}

/** The engine has one tape: gradients within a backward pass must put back the one that it walks along. */
function nested<T>(gradients: () => T): T {
  const { state } = tf.engine();
  const tape = state.activeTape;
  try {
    return gradients();
  } finally {
    state.activeTape = tape;
  }
}
