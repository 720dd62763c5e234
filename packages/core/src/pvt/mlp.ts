import * as tf from '@tensorflow/tfjs-core';
import type { PvtConfig } from '../config.ts';
import { depthwise, depthwiseSpec } from '../layers/convolution.ts';
import { linear, linearSpec, type LinearEpilogue } from '../layers/linear.ts';
import { dropout, type ForwardContext } from '../ops/dropout.ts';
import { pipe } from '../ops/pipe.ts';
import type { ParamsOf } from '../params/spec.ts';

/** The hidden width, truncated as the official code does. */
export const hiddenWidth = (config: PvtConfig, stage: number): number =>
  Math.trunc(config.dims[stage]! * config.mlpRatios[stage]!);

/** Feed-forward layer; v2's has a depthwise 3x3 convolution between its two products (PVT v2 section 3.4). */
export function mlpSpec(config: PvtConfig, stage: number) {
  const channels = config.dims[stage]!;
  const hidden = hiddenWidth(config, stage);
  return {
    fc1: linearSpec(channels, hidden, { std: config.initRange }),
    ...(config.version === 'v2' && { dwconv: depthwiseSpec(hidden, 3) }),
    fc2: linearSpec(hidden, channels, { std: config.initRange }),
  };
}

/**
 * @param x [B, N, C]
 * @param residual tokens to add to the result, where nothing is dropped from it
 * @returns [B, N, C]
 */
export function mlp(
  x: tf.Tensor3D,
  grid: readonly [number, number],
  { fc1, dwconv, fc2 }: ParamsOf<typeof mlpSpec>,
  config: PvtConfig,
  context: ForwardContext,
  residual: LinearEpilogue = {},
): tf.Tensor3D {
  const drop = (t: tf.Tensor) => dropout(t, config.dropout, context);
  // In the linear variant a ReLU stands between the first product and the convolution.
  const first: LinearEpilogue =
    dwconv === undefined
      ? { activation: config.activation }
      : config.version === 'v2' && config.linear
        ? { activation: 'relu' }
        : {};
  const convolve = (t: tf.Tensor): tf.Tensor => {
    if (dwconv === undefined) return t;
    const [batch, tokens, hidden] = t.shape as [number, number, number];
    const toMap = (u: tf.Tensor) => tf.reshape(u, [batch, ...grid, hidden]);
    return pipe(
      t,
      toMap,
      (u: tf.Tensor4D) => depthwise(u, dwconv, 1, config.activation),
      (u: tf.Tensor) => tf.reshape(u, [batch, tokens, hidden]),
    );
  };
  return pipe(
    x,
    (t: tf.Tensor3D) => linear(t, fc1, first),
    convolve,
    drop,
    (t: tf.Tensor3D) => linear(t, fc2, residual),
    drop,
  );
}
