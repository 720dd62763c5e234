import type * as tf from '@tensorflow/tfjs-core';
import type { Size } from '../vision.ts';
import { matrixOf, separable, type Matrix } from './separable.ts';

/** Means over PyTorch's windows: from floor(i·n/m) to ceil((i+1)·n/m), which overlap unless m divides n. */
function averagingMatrix(from: number, to: number): Matrix {
  return matrixOf(to, from, (row, add) => {
    const start = Math.floor((row * from) / to);
    const end = Math.ceil(((row + 1) * from) / to);
    for (let index = start; index < end; index++) add(index, 1 / (end - start));
  });
}

/**
 * Adaptive average pooling to a fixed size, as PyTorch's `AdaptiveAvgPool2d`; maps smaller than the size work
 * too.
 *
 * @param x [B, H, W, C]
 * @param size [H', W']
 * @returns [B, H', W', C]
 * @example
 * const pooled = adaptiveAveragePool(map, [7, 7]);
 */
export function adaptiveAveragePool(x: tf.Tensor4D, [height, width]: Size): tf.Tensor4D {
  return separable(x, averagingMatrix(x.shape[1], height), averagingMatrix(x.shape[2], width));
}
