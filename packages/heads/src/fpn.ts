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
import { convolutionFrom, xavier } from './convModule.ts';
import { checkFeatures, isCount, levelName, takeMaps } from './features.ts';

/**
 * Where levels beyond the backbone's come from. `maxPool` keeps every second pixel of the level before. The others are
 * 3x3 convolutions of stride 2, the first of them over the backbone's last map (`input`, C5), over its lateral before the
 * output convolution (`lateral`), or over the last output (`output`, P5); each further one over the level before.
 */
export const extraLevels = ['maxPool', 'input', 'lateral', 'output'] as const;
export type ExtraLevels = (typeof extraLevels)[number];

/** What a feature pyramid network is built from. */
export interface FpnConfig {
  /** The backbone's levels, from fine to coarse. */
  readonly features: readonly Feature[];
  /** Width of every output level. */
  readonly channels: number;
  /** First level that is used, counted from 0 (the default). */
  readonly startLevel?: number;
  /** Output levels in all; as many as are used of the backbone where absent. */
  readonly outputs?: number;
  /** How outputs beyond the backbone's are made; `maxPool` where absent. */
  readonly extra?: ExtraLevels;
  /** ReLU in front of each extra convolution but the first, as torchvision's P7 has it. */
  readonly reluBeforeExtra?: boolean;
}

const used = ({ features, startLevel = 0 }: FpnConfig): readonly Feature[] => features.slice(startLevel);
const extraCount = (config: FpnConfig): number =>
  (config.outputs ?? used(config).length) - used(config).length;

/** 1x1 laterals and 3x3 outputs, named as mmdetection's FPN. */
export function fpnSpec(config: FpnConfig) {
  const { channels, extra = 'maxPool' } = config;
  const inputs = used(config).map((feature) => feature.channels);
  const extras =
    extra === 'maxPool'
      ? []
      : Array.from({ length: extraCount(config) }, (_, i) =>
          i === 0 && extra === 'input' ? inputs.at(-1)! : channels,
        );
  const layer = (from: number, kernel: number) => ({
    conv: convolutionFrom(from, channels, kernel, xavier(from, channels, kernel)),
  });
  return {
    lateral_convs: inputs.map((from) => layer(from, 1)),
    fpn_convs: [...inputs.map(() => channels), ...extras].map((from) => layer(from, 3)),
  };
}

/** From a backbone's maps to levels of one width, each with what the coarser ones saw. */
export interface Fpn extends Model<
  ReturnType<typeof fpnSpec>,
  (pyramid: readonly FeatureMap[]) => FeatureMap[]
> {
  readonly config: FpnConfig;
  readonly inputs: readonly Feature[];
  /** The output levels, for the next head. */
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
      (t: tf.Tensor4D) => resample(t, [finer.shape[1], finer.shape[2]], 'nearest'),
      (t: tf.Tensor4D) => tf.add(finer, t),
    );
    finer.dispose();
  }
  const outputs = laterals.map((lateral, i) => convolution(lateral, fpn_convs[i]!.conv, 1, 1));
  const sources = {
    input: maps.at(-1)!,
    lateral: laterals.at(-1)!,
    output: outputs.at(-1)!,
    maxPool: outputs.at(-1)!,
  };
  for (let i = 0; i < extraCount(config); i++) {
    const source = i === 0 ? sources[extra] : outputs.at(-1)!;
    outputs.push(
      extra === 'maxPool'
        ? tf.maxPool(source, 1, 2, 'valid')
        : pipe(
            source,
            (t: tf.Tensor4D) => (i > 0 && reluBeforeExtra ? tf.relu(t) : t),
            (t: tf.Tensor4D) => convolution(t, fpn_convs[maps.length + i]!.conv, 2, 1),
          ),
    );
  }
  tf.dispose(laterals);
  return outputs;
}

/**
 * A feature pyramid network (Lin et al., arXiv:1612.03144) over any backbone's levels, at any sizes, odd ones too. The
 * options reproduce both mmdetection's `FPN` (`add_extra_convs` on input, lateral or output) and torchvision's
 * `FeaturePyramidNetwork` (`LastLevelMaxPool`, `LastLevelP6P7`).
 *
 * @throws ConfigError for levels, widths or counts that describe no network, CheckpointError where the source does not fit
 * @example
 * const fpn = createFpn({ features: backbone.features, channels: 256, startLevel: 1, outputs: 5, extra: 'input' }, scoped(source, 'neck'));
 * const levels = fpn.forward(backbone.forward(input).pyramid); // strides 8, 16, 32, 64, 128
 */
export function createFpn(config: FpnConfig, source: ParamSource): Fpn {
  const { features, channels, startLevel = 0, outputs, extra = 'maxPool' } = config;
  checkFeatures('FPN', features);
  const invalid = (field: string, expected: string, got: unknown) =>
    new ConfigError(
      'fpn-invalid',
      `FPN: expected ${field} to be ${expected}, got ${JSON.stringify(got)}; correct it.`,
    );
  if (!isCount(channels)) throw invalid('channels', 'a positive integer', channels);
  if (!isCount(startLevel, 0) || startLevel >= features.length)
    throw invalid('startLevel', `between 0 and ${features.length - 1}`, startLevel);
  if (!extraLevels.includes(extra)) throw invalid('extra', `one of ${extraLevels.join(', ')}`, extra);
  const inputs = used(config);
  if (outputs !== undefined && !isCount(outputs, inputs.length))
    throw invalid('outputs', `at least ${inputs.length}, as many as levels are used`, outputs);
  const levels: Feature[] = Array.from({ length: inputs.length + extraCount(config) }, (_, i) => {
    const stride =
      i < inputs.length ? inputs[i]!.stride : inputs.at(-1)!.stride * 2 ** (i - inputs.length + 1);
    return { name: levelName(stride), stride, channels };
  });
  const model = createModel(
    'FPN',
    fpnSpec(config),
    source,
    (params) => (pyramid: readonly FeatureMap[]) =>
      fpn(takeMaps('FPN', inputs, pyramid), params, config).map((tensor, i) => ({ ...levels[i]!, tensor })),
  );
  return Object.defineProperties(model, {
    config: { value: config, enumerable: true },
    inputs: { value: inputs, enumerable: true },
    features: { value: levels, enumerable: true },
  }) as unknown as Fpn;
}
