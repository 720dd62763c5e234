import * as tf from '@tensorflow/tfjs-core';

/*
 * Convolutions with gradients made of convolutions and products. tfjs's own gradients need kernels that its wasm backend
 * lacks (Conv2DBackpropFilter and both of the depthwise ones); these run on every backend and agree to rounding.
 */

type Pads = [[number, number], [number, number], [number, number], [number, number]];

/** Rows and columns around a map; negative numbers cut. */
function reframe(x: tf.Tensor4D, before: number, height: number, width: number): tf.Tensor4D {
  const [batch, from, across, channels] = x.shape;
  const pads: Pads = [[0, 0], [before, Math.max(0, height - from - before)], [before, Math.max(0, width - across - before)], [0, 0]];
  return tf.slice(tf.pad(x, pads), [0, 0, 0, 0], [batch, height, width, channels]);
}

/**
 * Gradient of a convolution with respect to its filter. The input is folded into cells of stride x stride pixels, which
 * makes the convolution one of stride 1 over cells: each of its few taps is one product of all positions.
 */
function filterGradient(x: tf.Tensor4D, dy: tf.Tensor4D, [kernel, , inputs, outputs]: readonly number[], stride: number, padding: number): tf.Tensor4D {
  const [batch, height, width] = dy.shape;
  const taps = Math.ceil(kernel! / stride);
  const [cellRows, cellColumns] = [height + taps - 1, width + taps - 1];
  const framed = reframe(x, padding, cellRows * stride, cellColumns * stride);
  const folded = tf.reshape(framed, [batch * cellRows, stride, cellColumns, stride * inputs!]);
  const cells = tf.reshape(tf.transpose(folded, [0, 2, 1, 3]), [batch, cellRows, cellColumns, stride * stride * inputs!]) as tf.Tensor4D;
  const positions = batch * height * width;
  const slopes = tf.reshape(dy, [positions, outputs!]) as tf.Tensor2D;
  const rows = Array.from({ length: taps }, (_, row) =>
    Array.from({ length: taps }, (_, column) => {
      const seen = tf.slice(cells, [0, row, column, 0], [batch, height, width, stride * stride * inputs!]);
      const product = tf.matMul(tf.transpose(tf.reshape(seen, [positions, -1])), slopes);
      return tf.reshape(product, [stride, stride, inputs!, outputs!]);
    }),
  );
  const whole = tf.concat(rows.map((row) => tf.concat(row, 1)), 0) as tf.Tensor4D;
  return tf.slice(whole, [0, 0, 0, 0], [kernel!, kernel!, inputs!, outputs!]);
}

/**
 * Convolution with a square filter.
 *
 * @param x [B, H, W, inputs]
 * @param filter [kernel, kernel, inputs, outputs]
 * @param bias [outputs], or undefined
 * @returns [B, H', W', outputs]
 */
export function conv2d(x: tf.Tensor4D, filter: tf.Tensor4D, bias: tf.Tensor1D | undefined, stride: number, padding: number): tf.Tensor4D {
  const compute = tf.customGrad((...inputs) => {
    const save = inputs.pop() as unknown as tf.GradSaveFunc;
    const [x, filter, bias] = inputs as [tf.Tensor4D, tf.Tensor4D, tf.Tensor1D?];
    save([x, filter]);
    const value = tf.fused.conv2d({ x, filter, ...(bias && { bias }), strides: stride, pad: padding });
    const gradFunc = (slope: tf.Tensor, saved: tf.Tensor[]) => {
      const dy = slope as tf.Tensor4D;
      const [x, filter] = saved as [tf.Tensor4D, tf.Tensor4D];
      return [
        tf.conv2dTranspose(dy, filter, x.shape, stride, padding),
        filterGradient(x, dy, filter.shape, stride, padding),
        ...(bias ? [tf.sum(dy, [0, 1, 2])] : []),
      ];
    };
    return { value, gradFunc };
  });
  return compute(x, filter, ...(bias ? [bias] : [])) as tf.Tensor4D;
}

/**
 * Depthwise convolution with a square filter, stride 1.
 *
 * @param x [B, H, W, C]
 * @param filter [kernel, kernel, C, 1]
 * @param bias [C]
 * @returns [B, H', W', C]
 */
export function depthwiseConv2d(x: tf.Tensor4D, filter: tf.Tensor4D, bias: tf.Tensor1D, padding: number): tf.Tensor4D {
  const compute = tf.customGrad((...inputs) => {
    const [x, filter, bias, save] = inputs as unknown as [tf.Tensor4D, tf.Tensor4D, tf.Tensor1D, tf.GradSaveFunc];
    save([x, filter]);
    const value = tf.fused.depthwiseConv2d({ x, filter, bias, strides: 1, pad: padding });
    const gradFunc = (slope: tf.Tensor, saved: tf.Tensor[]) => {
      const dy = slope as tf.Tensor4D;
      const [x, filter] = saved as [tf.Tensor4D, tf.Tensor4D];
      const [kernel, , channels] = filter.shape;
      const [, height, width] = dy.shape;
      const framed = reframe(x, padding, height + kernel - 1, width + kernel - 1);
      const taps = Array.from({ length: kernel * kernel }, (_, tap) =>
        tf.tidy(() => tf.sum(tf.mul(tf.slice(framed, [0, Math.floor(tap / kernel), tap % kernel, 0], dy.shape), dy), [0, 1, 2])),
      );
      return [
        tf.depthwiseConv2d(dy, tf.reverse(filter, [0, 1]), 1, kernel - 1 - padding),
        tf.reshape(tf.stack(taps), [kernel, kernel, channels, 1]),
        tf.sum(dy, [0, 1, 2]),
      ];
    };
    return { value, gradFunc };
  });
  return compute(x, filter, bias) as tf.Tensor4D;
}
