import * as tf from '@tensorflow/tfjs-core';

/**
 * The tensors anywhere in a structure of arrays and objects, in the order in which they are listed there.
 *
 * @example
 * flattenTensors({ pyramid: [c2, c3], embedding }); // [c2, c3, embedding]
 */
export function flattenTensors(structure: unknown): tf.Tensor[] {
  if (structure instanceof tf.Tensor) return [structure];
  if (typeof structure !== 'object' || structure === null) return [];
  return Object.values(structure).flatMap(flattenTensors);
}

/**
 * A copy of a structure of arrays and objects in which each tensor is replaced.
 *
 * @example
 * mapTensors({ pyramid: [c2, c3] }, (tensor) => tensor.shape);
 */
export function mapTensors(structure: unknown, replace: (tensor: tf.Tensor) => unknown): unknown {
  if (structure instanceof tf.Tensor) return replace(structure);
  if (Array.isArray(structure)) return structure.map((part) => mapTensors(part, replace));
  if (typeof structure !== 'object' || structure === null) return structure;
  return Object.fromEntries(
    Object.entries(structure).map(([name, part]) => [name, mapTensors(part, replace)]),
  );
}
