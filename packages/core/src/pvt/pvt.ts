import * as tf from '@tensorflow/tfjs-core';
import { gridSizes, type PvtConfig } from '../config.ts';
import { ConfigError, ShapeError } from '../errors.ts';
import { createModel, type Model } from '../model.ts';
import type { ForwardContext } from '../ops/dropout.ts';
import type { ParamSource } from '../params/source.ts';
import type { ParamsOf } from '../params/spec.ts';
import { stage, stageSpec } from './stage.ts';

/** Every parameter of a backbone, without allocating any; the keys are the canonical checkpoint names. */
export const pvtSpec = (config: PvtConfig) => ({
  stages: config.dims.map((_, index) => stageSpec(config, index)),
});

/** Describes one level of a pyramid before any tensor exists; heads check it at construction. */
export interface Feature {
  /** `stage1` is the finest. */
  readonly name: string;
  /** Input pixels per pixel of the map, both axes. */
  readonly stride: number;
  readonly channels: number;
}

/** One level of a pyramid. */
export interface FeatureMap extends Feature {
  /** [B, h, w, channels] */
  readonly tensor: tf.Tensor4D;
}

/** Which stages a forward computes, and what it returns beyond the pyramid. */
export interface PvtRequest {
  /**
   * Zero-based stages to return, in any order; those after the last of them are not computed. Default: all.
   */
  readonly stages?: readonly number[];
  /** Return the embedded patches and the tokens after each block. */
  readonly hiddenStates?: boolean;
  /** Return each block's attention probabilities. */
  readonly attentions?: boolean;
  /** Return each stage's tokens. */
  readonly tokens?: boolean;
}

/**
 * What a forward returns for a request. All tensors belong to the caller; `tf.dispose(output)` frees them.
 */
export type PvtOutput<R extends PvtRequest = PvtRequest> = {
  /** From fine to coarse. v2: after each stage's norm; v1: before any norm, without the class token. */
  readonly pyramid: readonly FeatureMap[];
} & (R extends { stages: readonly number[] }
  ? { readonly embedding?: tf.Tensor2D }
  : { readonly embedding: tf.Tensor2D }) &
  /** Per stage: the embedded patches, then the tokens [B, N, C] after each block, before the stage's norm. */
  (R extends { hiddenStates: true }
    ? { readonly hiddenStates: readonly (readonly tf.Tensor3D[])[] }
    : unknown) &
  /** Per stage and block: probabilities [B, heads, N, M]. */
  (R extends { attentions: true } ? { readonly attentions: readonly (readonly tf.Tensor4D[])[] } : unknown) &
  /** Per stage: tokens [B, N, C] after its norm, if it has one; a class token comes first. */
  (R extends { tokens: true } ? { readonly tokens: readonly tf.Tensor3D[] } : unknown);

/** The pyramid's levels: strides and channels. */
export function featuresOf(config: PvtConfig): Feature[] {
  let stride = 1;
  return config.dims.map((channels, index) => ({
    name: `stage${index + 1}`,
    stride: (stride *= config.strides[index]!),
    channels,
  }));
}

/** @throws ShapeError if the input does not fit */
function checkInput(input: tf.Tensor4D, config: PvtConfig): void {
  const [, height, width, channels] = input.shape;
  if (input.rank !== 4 || channels !== config.channels || input.dtype !== 'float32') {
    throw new ShapeError(
      'input-invalid',
      `PVT: expected a float32 input [batch, height, width, ${config.channels}], ` +
        `got ${input.dtype} [${input.shape}]; ${inputHint(input.shape, config)}.`,
    );
  }
  gridSizes(config, [height!, width!]);
}

function inputHint(shape: readonly number[], config: PvtConfig): string {
  if (shape.length === 3) return 'add a batch axis with tf.expandDims(input)';
  if (shape.length === 4 && shape[1] === config.channels)
    return 'transpose channels to the end with tf.transpose(input, [0, 2, 3, 1])';
  return 'prepare images with preprocess()';
}

/** The stages that a request wants. @throws ConfigError for a stage that does not exist */
function requestedStages({ stages }: PvtRequest, config: PvtConfig): readonly number[] {
  const count = config.dims.length;
  if (stages === undefined) return config.dims.map((_, index) => index);
  const valid = stages.every((index) => Number.isInteger(index) && index >= 0 && index < count);
  if (valid && stages.length > 0) return stages;
  throw new ConfigError(
    'stages-invalid',
    `PVT: expected stages between 0 and ${count - 1}, at least one, got [${stages}]; count stages from 0.`,
  );
}

/**
 * The forward pass of every version: stage after stage, each on the map of the one before.
 *
 * @param input [B, H, W, channels], any height and width that the architecture permits
 * @throws ShapeError if the input does not fit, ConfigError for a stage that does not exist
 */
export function pvt<R extends PvtRequest>(
  input: tf.Tensor4D,
  { stages }: ParamsOf<typeof pvtSpec>,
  config: PvtConfig,
  request: R & ForwardContext,
): PvtOutput<R> {
  checkInput(input, config);
  const wanted = requestedStages(request, config);
  const retain = { hiddenStates: request.hiddenStates ?? false, attentions: request.attentions ?? false };
  const features = featuresOf(config);
  const pyramid: FeatureMap[] = [];
  const hiddenStates: tf.Tensor3D[][] = [];
  const attentions: tf.Tensor4D[][] = [];
  const tokens: tf.Tensor3D[] = [];
  let embedding: tf.Tensor2D | undefined;

  request.observe?.('input', input);
  let map = input;
  for (let index = 0; index <= Math.max(...wanted); index++) {
    const output = stage(map, stages[index]!, config, index, retain, request);
    if (map !== input && !wanted.includes(index - 1)) map.dispose();
    map = output.map;
    if (wanted.includes(index)) pyramid.push({ ...features[index]!, tensor: map });
    hiddenStates.push(output.hiddenStates);
    attentions.push(output.attentions);
    if (index === config.dims.length - 1) embedding = embed(output.tokens, config);
    if (request.tokens) tokens.push(output.tokens);
    else output.tokens.dispose();
  }
  return {
    pyramid,
    ...(embedding && { embedding }),
    ...(retain.hiddenStates && { hiddenStates }),
    ...(retain.attentions && { attentions }),
    ...(request.tokens && { tokens }),
  } as PvtOutput<R>;
}

/**
 * The classifier's input [B, C]: v1's normed class token; otherwise the mean over the last stage's tokens.
 */
function embed(tokens: tf.Tensor3D, config: PvtConfig): tf.Tensor2D {
  if (config.version === 'v1' && config.classToken) {
    const [batch, , channels] = tokens.shape;
    return tf.tidy(() => tf.reshape(tf.slice(tokens, [0, 0, 0], [batch, 1, channels]), [batch, channels]));
  }
  return tf.mean(tokens, 1);
}

/** A backbone: parameters and the forward over them. */
export interface Pvt extends Model<
  ReturnType<typeof pvtSpec>,
  <R extends PvtRequest = Record<never, never>>(
    input: tf.Tensor4D,
    request?: R & ForwardContext,
  ) => PvtOutput<R>
> {
  readonly config: PvtConfig;
  /** The pyramid's levels; heads are built for them. */
  readonly features: readonly Feature[];
}

/**
 * A Pyramid Vision Transformer with parameters from `source`, on the current tfjs backend.
 *
 * @throws CheckpointError if the source does not fit the config
 * @example
 * const config = pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2] });
 * const backbone = createPvt(config, randomInit(1));
 * const { pyramid, embedding } = backbone.forward(tf.zeros([1, 224, 224, 3]));
 * pyramid.map(({ tensor }) => tensor.shape); // [[1, 56, 56, 32], …, [1, 7, 7, 256]]
 */
export const createPvt = (config: PvtConfig, source: ParamSource): Pvt =>
  createModel(
    `PVT ${config.version}`,
    pvtSpec(config),
    source,
    (params) =>
      <R extends PvtRequest = Record<never, never>>(
        input: tf.Tensor4D,
        request = {} as R & ForwardContext,
      ): PvtOutput<R> =>
        pvt(input, params, config, request),
    { config, features: featuresOf(config) },
  );
