import * as tf from '@tensorflow/tfjs-core';
import type { Activation } from '../config.ts';
import { activationFunctions } from './activation.ts';
import { fused, isFusable } from './fused.ts';
import { pipe } from './pipe.ts';
import { innerProduct, sumOfRows } from './product.ts';

/*
 * Convolutions with gradients made of convolutions and products. tfjs's own gradients need kernels that its wasm backend
 * lacks (Conv2DBackpropFilter and both of the depthwise ones); these run on every backend and agree to rounding.
 */

type Pads = [[number, number], [number, number], [number, number], [number, number]];

/** A part of a map. Pixels of a row lie together, so that rows are moved whole. */
function part(x: tf.Tensor4D, row: number, column: number, height: number, width: number): tf.Tensor4D {
  const [batch, , across, channels] = x.shape;
  const rows = tf.reshape(x, [batch, x.shape[1], across * channels]) as tf.Tensor3D;
  return tf.reshape(tf.slice(rows, [0, row, column * channels], [batch, height, width * channels]), [
    batch,
    height,
    width,
    channels,
  ]) as tf.Tensor4D;
}

/** Rows and columns around a map; negative numbers cut. */
function reframe(x: tf.Tensor4D, before: number, height: number, width: number): tf.Tensor4D {
  const [, from, across] = x.shape;
  const [added, cut] = [Math.max(0, before), Math.max(0, -before)];
  const pads: Pads = [
    [0, 0],
    [added, Math.max(0, height - from - before)],
    [added, Math.max(0, width - across - before)],
    [0, 0],
  ];
  return part(tf.pad(x, pads), cut, cut, height, width);
}

/**
 * Gradient of a convolution with respect to its input: over cells of stride x stride pixels, a convolution of stride 1
 * with the turned filter.
 */
function inputGradient(
  dy: tf.Tensor4D,
  filter: tf.Tensor4D,
  [, height, width]: readonly number[],
  stride: number,
  padding: number,
): tf.Tensor4D {
  const [kernel, , inputs, outputs] = filter.shape;
  const taps = Math.ceil(kernel / stride);
  const extra = taps * stride - kernel;
  const padded = tf.pad(filter, [
    [0, extra],
    [0, extra],
    [0, 0],
    [0, 0],
  ]);
  const folded = tf.reshape(padded, [taps, stride, taps, stride, inputs, outputs]);
  const turned = tf.reverse(
    tf.reshape(tf.transpose(folded, [0, 2, 5, 1, 3, 4]), [
      taps,
      taps,
      outputs,
      stride * stride * inputs,
    ]) as tf.Tensor4D,
    [0, 1],
  );
  const cells = tf.conv2d(dy, turned, 1, taps - 1);
  const [batch, rows, columns] = cells.shape;
  const pixels = tf.reshape(
    tf.transpose(tf.reshape(cells, [batch * rows, columns, stride, stride * inputs]), [0, 2, 1, 3]),
    [batch, rows * stride, columns * stride, inputs],
  ) as tf.Tensor4D;
  return reframe(pixels, -padding, height!, width!);
}

/**
 * Gradient of a convolution with respect to its filter. The input is folded into cells of stride x stride pixels, which
 * makes the convolution one of stride 1 over cells: each of its few taps is one product of all positions.
 */
function filterGradient(
  x: tf.Tensor4D,
  dy: tf.Tensor4D,
  [kernel, , inputs, outputs]: readonly number[],
  stride: number,
  padding: number,
): tf.Tensor4D {
  const [batch, height, width] = dy.shape;
  const taps = Math.ceil(kernel! / stride);
  const [cellRows, cellColumns] = [height + taps - 1, width + taps - 1];
  const framed = reframe(x, padding, cellRows * stride, cellColumns * stride);
  const folded = tf.reshape(framed, [batch * cellRows, stride, cellColumns, stride * inputs!]);
  const cells = tf.reshape(tf.transpose(folded, [0, 2, 1, 3]), [
    batch,
    cellRows,
    cellColumns,
    stride * stride * inputs!,
  ]) as tf.Tensor4D;
  const positions = batch * height * width;
  const slopes = tf.reshape(dy, [positions, outputs!]) as tf.Tensor2D;
  const rows = Array.from({ length: taps }, (_, row) =>
    Array.from({ length: taps }, (_, column) => {
      const seen = part(cells, row, column, height, width);
      const product = innerProduct(tf.reshape(seen, [positions, -1]) as tf.Tensor2D, slopes);
      return tf.reshape(product, [stride, stride, inputs!, outputs!]);
    }),
  );
  const whole = tf.concat(
    rows.map((row) => tf.concat(row, 1)),
    0,
  ) as tf.Tensor4D;
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
export function conv2d(
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  bias: tf.Tensor1D | undefined,
  stride: number,
  padding: number,
): tf.Tensor4D {
  const quick = fused<tf.Tensor4D>('PvtConvolution', { x, filter, bias }, { stride, padding });
  if (quick !== undefined) return quick;
  const compute = tf.customGrad((...inputs) => {
    const save = inputs.pop() as unknown as tf.GradSaveFunc;
    const [x, filter, bias] = inputs as [tf.Tensor4D, tf.Tensor4D, tf.Tensor1D?];
    save([x, filter]);
    const value = tf.fused.conv2d({ x, filter, ...(bias && { bias }), strides: stride, pad: padding });
    const gradFunc = (slope: tf.Tensor, saved: tf.Tensor[]) => {
      const dy = slope as tf.Tensor4D;
      const [x, filter] = saved as [tf.Tensor4D, tf.Tensor4D];
      return [
        inputGradient(dy, filter, x.shape, stride, padding),
        filterGradient(x, dy, filter.shape, stride, padding),
        ...(bias ? [sumOfRows(dy)] : []),
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
 * @param activation of the result
 * @returns [B, H', W', C]
 */
export function depthwiseConv2d(
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  bias: tf.Tensor1D,
  padding: number,
  activation?: Activation,
): tf.Tensor4D {
  const activate = (t: tf.Tensor) => (activation === undefined ? t : activationFunctions[activation](t));
  if (filter.shape[0] === 3 && padding === 1) {
    const whole = isFusable(activation);
    const quick = fused<tf.Tensor4D>(
      'PvtDepthwise',
      { x, filter, bias },
      whole && activation ? { activation } : {},
    );
    if (quick !== undefined) return whole ? quick : pipe(x, () => quick, activate);
  }
  const compute = tf.customGrad((...inputs) => {
    const [x, filter, bias, save] = inputs as unknown as [
      tf.Tensor4D,
      tf.Tensor4D,
      tf.Tensor1D,
      tf.GradSaveFunc,
    ];
    save([x, filter]);
    const value = tf.fused.depthwiseConv2d({ x, filter, bias, strides: 1, pad: padding });
    const gradFunc = (slope: tf.Tensor, saved: tf.Tensor[]) => {
      const dy = slope as tf.Tensor4D;
      const [x, filter] = saved as [tf.Tensor4D, tf.Tensor4D];
      const [kernel, , channels] = filter.shape;
      const [, height, width] = dy.shape;
      const framed = reframe(x, padding, height + kernel - 1, width + kernel - 1);
      const taps = Array.from({ length: kernel * kernel }, (_, tap) =>
        tf.tidy(() =>
          sumOfRows(tf.mul(part(framed, Math.floor(tap / kernel), tap % kernel, height, width), dy)),
        ),
      );
      return [
        tf.depthwiseConv2d(dy, tf.reverse(filter, [0, 1]), 1, kernel - 1 - padding),
        tf.reshape(tf.stack(taps), [kernel, kernel, channels, 1]),
        sumOfRows(dy),
      ];
    };
    return { value, gradFunc };
  });
  return pipe(x, () => compute(x, filter, bias), activate);
}
