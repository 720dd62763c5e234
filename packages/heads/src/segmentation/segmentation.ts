import * as tf from '@tensorflow/tfjs-core';
import {
  ConfigError,
  convolution,
  createModel,
  dropChannels,
  pipe,
  resample,
  type Feature,
  type FeatureMap,
  type ForwardContext,
  type Model,
  type ParamSource,
  type ParamsOf,
  type Size,
  type Spec,
} from '@pvt/core';
import { initializedConvolutionSpec } from '../convModule.ts';
import { checkClasses, checkFeatures, isCount, selectMaps } from '../features.ts';

export interface SegmentationConfig {
  /** The pyramid's levels, from fine to coarse. */
  readonly features: readonly Feature[];
  readonly classes: number;
  /** Width of the head's layers. Each head has its own default. */
  readonly channels?: number;
  /**
   * Share of channels that are dropped in front of the classifier, while training. Default: 0.1, as
   * mmsegmentation.
   */
  readonly dropout?: number;
}

/** From a pyramid to logits [B, h, w, classes] at the stride of its finest level. */
export interface SegmentationHead<S extends Spec = Spec> extends Model<
  S,
  (pyramid: readonly FeatureMap[], context?: ForwardContext) => tf.Tensor4D
> {
  readonly config: SegmentationConfig;
  readonly inputs: readonly Feature[];
}

/** The 1x1 convolution to classes that heads end in. */
export const pixelClassifierSpec = (channels: number, classes: number) =>
  initializedConvolutionSpec(channels, classes, 1, { kind: 'normal', std: 0.01 });

/** Dropout and the classifier, over a map that is borrowed. */
export const classifyPixels = (
  map: tf.Tensor4D,
  params: ParamsOf<typeof pixelClassifierSpec>,
  { dropout = 0.1 }: SegmentationConfig,
  context: ForwardContext,
): tf.Tensor4D =>
  pipe(
    map,
    (t) => dropChannels(t, dropout, context),
    (t) => convolution(t, params),
  );

/** {@link classifyPixels} over a map that it frees. */
export function classifyAndFree(
  map: tf.Tensor4D,
  params: ParamsOf<typeof pixelClassifierSpec>,
  config: SegmentationConfig,
  context: ForwardContext,
): tf.Tensor4D {
  const logits = classifyPixels(map, params, config, context);
  map.dispose();
  return logits;
}

/** The sum of two maps, which it frees. */
export function addAndFree(a: tf.Tensor4D, b: tf.Tensor4D): tf.Tensor4D {
  const sum: tf.Tensor4D = tf.add(a, b);
  tf.dispose([a, b]);
  return sum;
}

/** Concatenates the channels of maps, which it frees. */
export function concatAndFree(maps: tf.Tensor4D[]): tf.Tensor4D {
  const joined = tf.concat(maps, 3);
  tf.dispose(maps);
  return joined;
}

/** Resizes a map bilinearly, and frees it. */
export function resizeAndFree(map: tf.Tensor4D, size: Size): tf.Tensor4D {
  const resized = resample(map, size, 'bilinear');
  map.dispose();
  return resized;
}

/** Height and width of a map. */
export const sizeOfMap = (map: tf.Tensor4D): [height: number, width: number] => [map.shape[1], map.shape[2]];

/** What distinguishes one segmentation head from another. */
interface SegmentationHeadDefinition<S extends Spec> {
  readonly name: string;
  /** The levels that the head takes. Default: all of the config's. */
  readonly inputs?: (features: readonly Feature[]) => readonly Feature[];
  /** Called once the config is checked. */
  readonly spec: (config: SegmentationConfig) => S;
  /** From the selected maps, which are borrowed, to logits. */
  readonly forward: (maps: tf.Tensor4D[], params: ParamsOf<S>, context: ForwardContext) => tf.Tensor4D;
}

/** Checks what all heads share, then joins spec and forward. */
export function createSegmentationHead<S extends Spec>(
  config: SegmentationConfig,
  source: ParamSource,
  { name, inputs: inputsOf = (features) => features, spec, forward }: SegmentationHeadDefinition<S>,
): SegmentationHead<S> {
  checkConfig(name, config);
  const inputs = inputsOf(config.features);
  return createModel(
    name,
    spec(config),
    source,
    (params) =>
      (pyramid: readonly FeatureMap[], context: ForwardContext = {}) =>
        forward(selectMaps(name, inputs, pyramid), params, context),
    { config, inputs },
  );
}

function checkConfig(
  name: string,
  { features, classes, channels = 1, dropout = 0 }: SegmentationConfig,
): void {
  checkFeatures(name, features);
  checkClasses(name, classes);
  if (!isCount(channels)) {
    throw new ConfigError(
      'channels-invalid',
      `${name}: expected channels to be a positive integer, got ${channels}; correct it.`,
    );
  }
  if (!(dropout >= 0 && dropout < 1)) {
    throw new ConfigError(
      'dropout-invalid',
      `${name}: expected dropout in [0, 1), got ${dropout}; use 0 to switch it off.`,
    );
  }
}
