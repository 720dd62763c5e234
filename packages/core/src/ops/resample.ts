import type * as tf from '@tensorflow/tfjs-core';
import { ShapeError } from '../errors.ts';
import type { Size } from '../vision.ts';
import { matrixOf, separable, type Matrix } from './separable.ts';

export type ResampleMethod = 'nearest' | 'bilinear' | 'bicubic';

/** Cubic convolution kernel with a = -0.75, the constant of PyTorch's bicubic. */
function cubic(distance: number): number {
  const a = -0.75;
  const x = Math.abs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((x - 5) * x + 8) * x * a - 4 * a;
  return 0;
}

/**
 * The weight of each input position in each output position, as in PyTorch's
 * `interpolate(align_corners=False)`.
 */
function interpolationMatrix(from: number, to: number, method: ResampleMethod): Matrix {
  const clamp = (index: number) => Math.min(Math.max(index, 0), from - 1);
  return matrixOf(to, from, (row, add) => {
    const center = ((row + 0.5) * from) / to - 0.5;
    if (method === 'nearest') return add(clamp(Math.floor((row * from) / to)), 1);
    const position = method === 'bilinear' ? Math.max(center, 0) : center;
    const left = Math.floor(position);
    const radius = method === 'bilinear' ? 1 : 2;
    for (let index = left - radius + 1; index <= left + radius; index++) {
      const distance = position - index;
      add(clamp(index), method === 'bilinear' ? Math.max(0, 1 - Math.abs(distance)) : cubic(distance));
    }
  });
}

/**
 * Resamples maps to another size, as PyTorch's `interpolate` with `align_corners=False` and no antialiasing.
 * Unlike `tf.image.resizeBilinear`, its gradient is right at every size on every backend.
 *
 * @param x [B, H, W, C]
 * @param size [H', W']
 * @returns [B, H', W', C]
 * @throws ShapeError if a side is not a positive integer
 * @example
 * const full = resample(logits, [480, 640], 'bilinear');
 */
export function resample(x: tf.Tensor4D, [height, width]: Size, method: ResampleMethod): tf.Tensor4D {
  if (!(Number.isSafeInteger(height) && Number.isSafeInteger(width) && height > 0 && width > 0)) {
    throw new ShapeError(
      'size-invalid',
      `resample: expected a target [height, width] of positive integers, got [${height}, ${width}]; ` +
        'pass whole pixels.',
    );
  }
  if (height === x.shape[1] && width === x.shape[2]) return x.clone();
  return separable(
    x,
    interpolationMatrix(x.shape[1], height, method),
    interpolationMatrix(x.shape[2], width, method),
  );
}
