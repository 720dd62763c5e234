import * as tf from '@tensorflow/tfjs-core';
import { customGradient } from './customGradient.ts';

/** A dense matrix on the host, row-major. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float32Array;
}

/** Builds a matrix row by row: `fill(row, add)` adds values at columns. */
export function matrixOf(
  rows: number,
  columns: number,
  fill: (row: number, add: (column: number, value: number) => void) => void,
): Matrix {
  // Weights are summed in float64 and rounded once.
  const values = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++)
    fill(row, (column, value) => (values[row * columns + column]! += value));
  return { rows, columns, values: Float32Array.from(values) };
}

function applyTo(x: tf.Tensor4D, vertical: Matrix, horizontal: Matrix, transpose: boolean): tf.Tensor4D {
  return tf.tidy(() => {
    const toTensor = ({ rows, columns, values }: Matrix): tf.Tensor3D => {
      const matrix = tf.tensor3d(values, [1, rows, columns]);
      return transpose ? tf.transpose(matrix, [0, 2, 1]) : matrix;
    };
    const [batch, height, width, channels] = x.shape;
    const rows = toTensor(vertical);
    const columns = toTensor(horizontal);
    const tall = tf.matMul(rows, tf.reshape(x, [batch, height, width * channels]));
    const outHeight = rows.shape[1];
    const wide = tf.matMul(columns, tf.reshape(tall, [batch * outHeight, width, channels]));
    return tf.reshape(wide, [batch, outHeight, columns.shape[1], channels]);
  });
}

/**
 * Applies a linear map to the rows and another to the columns of an image: y = V·x·Hᵀ in every channel.
 * Pooling and resampling of any kind are of this form; as matrix products they run and differentiate on every
 * backend.
 *
 * @param x [B, H, W, C]
 * @param vertical [H', H]
 * @param horizontal [W', W]
 * @returns [B, H', W', C]
 */
export const separable = (x: tf.Tensor4D, vertical: Matrix, horizontal: Matrix): tf.Tensor4D =>
  customGradient([x], () => ({
    value: applyTo(x, vertical, horizontal, false),
    gradFunc: (dy) => applyTo(dy, vertical, horizontal, true),
  }));
