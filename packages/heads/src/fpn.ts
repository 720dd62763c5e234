import * as tf from '@tensorflow/tfjs-core';
import {
  ConfigError,
  convolution,
  createModel,
  pipe,
  resample,
  type Feature,
  type FeatureMap,
  type Model,
  type ParamSource,
  type ParamsOf,
} from '@pvt/core';
import { initializedConvolutionSpec, xavier } from './convModule.ts';
import { checkFeatures, isCount, levelName, selectMaps } from './features.ts';

/**
 * How levels beyond the backbone's are made. `maxPool` takes every second pixel of the level before. The
 * others are 3x3 convolutions of stride 2: the first of them over the backbone's last map (`input`, C5), over
 * its lateral before the output convolution (`lateral`), or over the last output (`output`, P5); each further
 * one over the level before.
 */
export const extraLevels = ['maxPool', 'input', 'lateral', 'output'] as const;
export type ExtraLevels = (typeof extraLevels)[number];

export interface FpnConfig {
  /** The backbone's levels, from fine to coarse. */
  readonly features: readonly Feature[];
  /** Width of every output level. */
  readonly channels: number;
  /** First level that is used, counted from 0. Default: 0. */
  readonly startLevel?: number;
  /** Number of output levels. Default: as many as levels of the backbone are used. */
  readonly outputs?: number;
  /** How outputs beyond the backbone's levels are made. Default: `maxPool`. */
  readonly extra?: ExtraLevels;
  /** ReLU in front of each extra convolution but the first, as in torchvision's P7. Default: false. */
  readonly reluBeforeExtra?: boolean;
}

const usedFeatures = ({ features, startLevel = 0 }: FpnConfig): readonly Feature[] =>
  features.slice(startLevel);

const extraCount = (config: FpnConfig): number => {
  const used = usedFeatures(config).length;
  return (config.outputs ?? used) - used;
};

/** Widths that the extra convolutions take. */
function extraInputs(config: FpnConfig): number[] {
  const { channels, extra = 'maxPool' } = config;
  if (extra === 'maxPool') return [];
  const widths = Array.from({ length: extraCount(config) }, () => channels);
  if (extra === 'input' && widths.length > 0) widths[0] = usedFeatures(config).at(-1)!.channels;
  return widths;
}

/** 1x1 laterals and 3x3 outputs, named as in mmdetection's FPN. */
export function fpnSpec(config: FpnConfig) {
  const { channels } = config;
  const inputs = usedFeatures(config).map((feature) => feature.channels);
  const layer = (width: number, kernel: number) => ({
    conv: initializedConvolutionSpec(width, channels, kernel, xavier(width, channels, kernel)),
  });
  return {
    lateral_convs: inputs.map((width) => layer(width, 1)),
    fpn_convs: [...inputs.map(() => channels), ...extraInputs(config)].map((width) => layer(width, 3)),
  };
}

/** From a backbone's maps to levels of one width, each with context from the coarser ones. */
export interface Fpn extends Model<
  ReturnType<typeof fpnSpec>,
  (pyramid: readonly FeatureMap[]) => FeatureMap[]
> {
  readonly config: FpnConfig;
  readonly inputs: readonly Feature[];
  /** The output levels; the next head is built for them. */
  readonly features: readonly Feature[];
}

function fpn(
  maps: readonly tf.Tensor4D[],
  { lateral_convs, fpn_convs }: ParamsOf<typeof fpnSpec>,
  config: FpnConfig,
): tf.Tensor4D[] {
  const { extra = 'maxPool', reluBeforeExtra = false } = config;
  const laterals = maps.map((map, i) => convolution(map, lateral_convs[i]!.conv));
  for (let i = laterals.length - 1; i > 0; i--) {
    const finer = laterals[i - 1]!;
    laterals[i - 1] = pipe(
      laterals[i]!,
      (t) => resample(t, [finer.shape[1], finer.shape[2]], 'nearest'),
      (t) => tf.add<tf.Tensor4D>(finer, t),
    );
    finer.dispose();
  }
  const outputs = laterals.map((lateral, i) => convolution(lateral, fpn_convs[i]!.conv, 1, 1));
  const firstSource = {
    input: maps.at(-1)!,
    lateral: laterals.at(-1)!,
    output: outputs.at(-1)!,
    maxPool: outputs.at(-1)!,
  }[extra];
  for (let i = 0; i < extraCount(config); i++) {
    const source = i === 0 ? firstSource : outputs.at(-1)!;
    const conv = fpn_convs[maps.length + i]?.conv;
    outputs.push(extraLevel(source, conv, i > 0 && reluBeforeExtra));
  }
  tf.dispose(laterals);
  return outputs;
}

/** A level at half the size of another, by a convolution or else by pooling. */
function extraLevel(
  source: tf.Tensor4D,
  conv: ParamsOf<typeof fpnSpec>['fpn_convs'][number]['conv'] | undefined,
  relu: boolean,
): tf.Tensor4D {
  if (conv === undefined) return tf.maxPool(source, 1, 2, 'valid');
  return pipe(
    source,
    (t) => (relu ? tf.relu(t) : t),
    (t) => convolution(t, conv, 2, 1),
  );
}

/** Strides and widths of the output levels. */
function outputFeatures(config: FpnConfig): Feature[] {
  const inputs = usedFeatures(config);
  const coarsest = inputs.at(-1)!.stride;
  const extras = Array.from({ length: extraCount(config) }, (_, i) => coarsest * 2 ** (i + 1));
  const strides = [...inputs.map(({ stride }) => stride), ...extras];
  return strides.map((stride) => ({ name: levelName(stride), stride, channels: config.channels }));
}

function checkConfig(config: FpnConfig): void {
  const { features, channels, startLevel = 0, outputs, extra = 'maxPool' } = config;
  checkFeatures('FPN', features);
  const fail = (field: string, expected: string, got: unknown): never => {
    throw new ConfigError(
      'fpn-invalid',
      `FPN: expected ${field} to be ${expected}, got ${JSON.stringify(got)}; correct it.`,
    );
  };
  if (!isCount(channels)) fail('channels', 'a positive integer', channels);
  if (!isCount(startLevel, 0) || startLevel >= features.length)
    fail('startLevel', `between 0 and ${features.length - 1}`, startLevel);
  if (!extraLevels.includes(extra)) fail('extra', `one of ${extraLevels.join(', ')}`, extra);
  const used = usedFeatures(config).length;
  if (outputs !== undefined && !isCount(outputs, used))
    fail('outputs', `at least ${used}, as many as levels are used`, outputs);
}

/**
 * A feature pyramid network (Lin et al., arXiv:1612.03144) over any backbone's levels, at any sizes, odd ones
 * too. The options reproduce both mmdetection's `FPN` (`add_extra_convs` on input, lateral or output) and
 * torchvision's `FeaturePyramidNetwork` (`LastLevelMaxPool`, `LastLevelP6P7`).
 *
 * @throws ConfigError for invalid levels, widths or counts, CheckpointError if the source does not fit
 * @example
 * const config = { features: backbone.features, channels: 256, startLevel: 1, outputs: 5, extra: 'input' };
 * const fpn = createFpn(config, scoped(source, 'neck'));
 * const levels = fpn.forward(backbone.forward(input).pyramid); // strides 8, 16, 32, 64, 128
 */
export function createFpn(config: FpnConfig, source: ParamSource): Fpn {
  checkConfig(config);
  const inputs = usedFeatures(config);
  const features = outputFeatures(config);
  return createModel(
    'FPN',
    fpnSpec(config),
    source,
    (params) => (pyramid: readonly FeatureMap[]) => {
      const outputs = fpn(selectMaps('FPN', inputs, pyramid), params, config);
      return outputs.map((tensor, i): FeatureMap => ({ ...features[i]!, tensor }));
    },
    { config, inputs, features },
  );
}
