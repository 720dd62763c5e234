import type * as tf from '@tensorflow/tfjs-core';

export type Shape = readonly number[];

interface ValueInfo {
  /** Index in the graph's `values`. */
  readonly id: number;
  readonly shape: Shape;
  readonly dtype: 'float32';
}

/** A tensor that the caller passes to the forward. */
export interface InputValue extends ValueInfo {
  readonly kind: 'input';
  /** Index in the graph's `inputs`, and in `flattenTensors` of the forward's input. */
  readonly index: number;
}

/** A tensor that existed before the forward was recorded, such as a model's parameter. */
export interface WeightValue extends ValueInfo {
  readonly kind: 'weight';
  /** The tensor itself, still owned by the caller. */
  readonly tensor: tf.Tensor;
}

/** A tensor that the forward creates from numbers, such as the `2` of `tf.mul(x, 2)`. */
export interface ConstantValue extends ValueInfo {
  readonly kind: 'constant';
  readonly data: Float32Array;
}

/** An output of one of the graph's operations. */
export interface ComputedValue extends ValueInfo {
  readonly kind: 'computed';
}

/** A tensor of a recorded forward. */
export type Value = InputValue | WeightValue | ConstantValue | ComputedValue;
