import type * as tf from '@tensorflow/tfjs-core';
import type { Activation, PvtConfig } from '../config.ts';
import { depthwise, depthwiseSpec } from '../layers/convolution.ts';
import { linear, linearSpec } from '../layers/linear.ts';
import { dropout, type ForwardContext } from '../ops/dropout.ts';
import { pipe } from '../ops/pipe.ts';
import type { ParamsOf } from '../params/spec.ts';
import type { Size } from '../vision.ts';
import { toMap, toTokens } from './tokens.ts';

/** The hidden width, truncated as in the official code. */
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
 * What follows the first product: v2 activates after its convolution, and the linear variant has a ReLU
 * before it.
 */
function firstActivation(config: PvtConfig): Activation | undefined {
  if (config.version === 'v1') return config.activation;
  return config.linear ? 'relu' : undefined;
}

/**
 * fc2(activation(dwconv(fc1(x)))), in v1 without the convolution.
 *
 * @param x [B, N, C]
 * @param residual tokens to add to the result; only if nothing is dropped from it
 * @returns [B, N, C]
 */
export function mlp(
  x: tf.Tensor3D,
  grid: Size,
  { fc1, dwconv, fc2 }: ParamsOf<typeof mlpSpec>,
  config: PvtConfig,
  context: ForwardContext,
  residual?: tf.Tensor3D,
): tf.Tensor3D {
  return pipe(
    x,
    (t) => linear(t, fc1, { activation: firstActivation(config) }),
    (t) => (dwconv === undefined ? t : convolve(t, grid, dwconv, config.activation)),
    (t) => dropout(t, config.dropout, context),
    (t) => linear(t, fc2, { residual }),
    (t) => dropout(t, config.dropout, context),
  );
}

/** The depthwise convolution over the tokens' map, and the activation after it. */
const convolve = (
  tokens: tf.Tensor3D,
  grid: Size,
  params: ParamsOf<typeof depthwiseSpec>,
  activation: Activation,
): tf.Tensor3D =>
  pipe(
    tokens,
    (t) => toMap(t, grid),
    (t) => depthwise(t, params, 1, activation),
    toTokens,
  );
