import * as tf from '@tensorflow/tfjs-core';
import type { Activation } from '../config.ts';
import { activationFunctions } from './activation.ts';
import { customGradient } from './customGradient.ts';
import { fused, isFusable } from './fused.ts';
import { pipe } from './pipe.ts';
import { innerProduct, sumOfRows } from './product.ts';

/*
 * Convolutions with gradients made of convolutions and products. tfjs's own gradients need kernels that its
 * wasm backend lacks (Conv2DBackpropFilter and both of the depthwise ones); these run on every backend and
 * agree to rounding.
 */

type Pads = [[number, number], [number, number], [number, number], [number, number]];

/** A window of a map. The pixels of a row are contiguous, so whole rows are copied. */
function crop(x: tf.Tensor4D, top: number, left: number, height: number, width: number): tf.Tensor4D {
  const [batch, rows, columns, channels] = x.shape;
  const flat = tf.reshape<tf.Rank.R3>(x, [batch, rows, columns * channels]);
  const cropped = tf.slice(flat, [0, top, left * channels], [batch, height, width * channels]);
  return tf.reshape(cropped, [batch, height, width, channels]);
}

/**
 * A map with `before` rows and columns added in front, brought to a size at the end; negative numbers crop.
 */
function padOrCrop(x: tf.Tensor4D, before: number, height: number, width: number): tf.Tensor4D {
  const [, rows, columns] = x.shape;
  const [added, cropped] = [Math.max(0, before), Math.max(0, -before)];
  const pads: Pads = [
    [0, 0],
    [added, Math.max(0, height - rows - before)],
    [added, Math.max(0, width - columns - before)],
    [0, 0],
  ];
  return crop(tf.pad(x, pads), cropped, cropped, height, width);
}

/**
 * Gradient of a convolution with respect to its input: over cells of stride x stride pixels, a convolution of
 * stride 1 with the rotated filter.
 */
function inputGradient(
  dy: tf.Tensor4D,
  filter: tf.Tensor4D,
  [, height, width]: readonly number[],
  stride: number,
  padding: number,
): tf.Tensor4D {
  const [kernel, , inputs, outputs] = filter.shape;
  const side = Math.ceil(kernel / stride);
  const extra = side * stride - kernel;
  const pads: Pads = [
    [0, extra],
    [0, extra],
    [0, 0],
    [0, 0],
  ];
  const folded = tf.reshape(tf.pad(filter, pads), [side, stride, side, stride, inputs, outputs]);
  const perCell = tf.reshape<tf.Rank.R4>(tf.transpose(folded, [0, 2, 5, 1, 3, 4]), [
    side,
    side,
    outputs,
    stride * stride * inputs,
  ]);
  const cells = tf.conv2d(dy, tf.reverse(perCell, [0, 1]), 1, side - 1);
  const [batch, rows, columns] = cells.shape;
  const pixels = tf.reshape<tf.Rank.R4>(
    tf.transpose(tf.reshape(cells, [batch * rows, columns, stride, stride * inputs]), [0, 2, 1, 3]),
    [batch, rows * stride, columns * stride, inputs],
  );
  return padOrCrop(pixels, -padding, height!, width!);
}

/**
 * Gradient of a convolution with respect to its filter. The input is folded into cells of stride x stride
 * pixels, which makes the convolution one of stride 1 over cells: each position of its small kernel is one
 * product over all pixels.
 */
function filterGradient(
  x: tf.Tensor4D,
  dy: tf.Tensor4D,
  [kernel, , inputs, outputs]: readonly number[],
  stride: number,
  padding: number,
): tf.Tensor4D {
  const [batch, height, width] = dy.shape;
  const side = Math.ceil(kernel! / stride);
  const [cellRows, cellColumns] = [height + side - 1, width + side - 1];
  const padded = padOrCrop(x, padding, cellRows * stride, cellColumns * stride);
  const folded = tf.reshape(padded, [batch * cellRows, stride, cellColumns, stride * inputs!]);
  const cells = tf.reshape<tf.Rank.R4>(tf.transpose(folded, [0, 2, 1, 3]), [
    batch,
    cellRows,
    cellColumns,
    stride * stride * inputs!,
  ]);
  const positions = batch * height * width;
  const gradients = tf.reshape<tf.Rank.R2>(dy, [positions, outputs!]);
  const gradientAt = (row: number, column: number): tf.Tensor => {
    const seen = tf.reshape<tf.Rank.R2>(crop(cells, row, column, height, width), [positions, -1]);
    return tf.reshape(innerProduct(seen, gradients), [stride, stride, inputs!, outputs!]);
  };
  const offsets = Array.from({ length: side }, (_, offset) => offset);
  const rows = offsets.map((row) =>
    tf.concat(
      offsets.map((column) => gradientAt(row, column)),
      1,
    ),
  );
  const whole = tf.concat(rows, 0) as tf.Tensor4D;
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
  return (
    fused<tf.Tensor4D>('PvtConvolution', { x, filter, bias }, { stride, padding }) ??
    portableConv2d(x, filter, bias, stride, padding)
  );
}

function portableConv2d(
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  bias: tf.Tensor1D | undefined,
  stride: number,
  padding: number,
): tf.Tensor4D {
  return customGradient([x, filter, bias], (save) => {
    save([x, filter]);
    return {
      value: tf.fused.conv2d({ x, filter, ...(bias && { bias }), strides: stride, pad: padding }),
      gradFunc(dy, saved) {
        const [x, filter] = saved as [tf.Tensor4D, tf.Tensor4D];
        return [
          inputGradient(dy, filter, x.shape, stride, padding),
          filterGradient(x, dy, filter.shape, stride, padding),
          ...(bias ? [sumOfRows(dy)] : []),
        ];
      },
    };
  });
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
  const fusesActivation = isFusable(activation);
  const attrs = fusesActivation && activation ? { activation } : {};
  const fusedResult =
    filter.shape[0] === 3 && padding === 1
      ? fused<tf.Tensor4D>('PvtDepthwise', { x, filter, bias }, attrs)
      : undefined;
  if (fusedResult !== undefined && fusesActivation) return fusedResult;
  return pipe(
    x,
    () => fusedResult ?? portableDepthwiseConv2d(x, filter, bias, padding),
    (t) => (activation === undefined ? t : activationFunctions[activation](t)),
  );
}

const portableDepthwiseConv2d = (
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  bias: tf.Tensor1D,
  padding: number,
): tf.Tensor4D =>
  customGradient([x, filter, bias], (save) => {
    save([x, filter]);
    return {
      value: tf.fused.depthwiseConv2d({ x, filter, bias, strides: 1, pad: padding }),
      gradFunc(dy, saved) {
        const [x, filter] = saved as [tf.Tensor4D, tf.Tensor4D];
        const kernel = filter.shape[0];
        return [
          tf.depthwiseConv2d(dy, tf.reverse(filter, [0, 1]), 1, kernel - 1 - padding),
          depthwiseFilterGradient(x, dy, filter.shape, padding),
          sumOfRows(dy),
        ];
      },
    };
  });

/**
 * Gradient of a depthwise convolution with respect to its filter, one position of the kernel after the other.
 */
function depthwiseFilterGradient(
  x: tf.Tensor4D,
  dy: tf.Tensor4D,
  [kernel, , channels]: readonly [number, number, number, number],
  padding: number,
): tf.Tensor {
  const [, height, width] = dy.shape;
  const padded = padOrCrop(x, padding, height + kernel - 1, width + kernel - 1);
  const positions = Array.from({ length: kernel * kernel }, (_, i) =>
    tf.tidy(() => sumOfRows(tf.mul(crop(padded, Math.floor(i / kernel), i % kernel, height, width), dy))),
  );
  return tf.reshape(tf.stack(positions), [kernel, kernel, channels, 1]);
}
