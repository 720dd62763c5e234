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
  type Spec,
} from '@pvt/core';
import { convolutionFrom } from '../convModule.ts';
import { checkFeatures, isCount, takeMaps } from '../features.ts';

/** What a segmentation head is built from. */
export interface SegmentationConfig {
  /** The pyramid's levels, from fine to coarse. */
  readonly features: readonly Feature[];
  readonly classes: number;
  /** Width inside the head; each head's docs tell its default. */
  readonly channels?: number;
  /** Rate at which whole channels are dropped in front of the classifier, while training; 0.1 where absent, as in mmsegmentation. */
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
export const classifierSpec = (channels: number, classes: number) =>
  convolutionFrom(channels, classes, 1, { kind: 'normal', std: 0.01 });

/** Dropout and the classifier over a map that is freed. */
export function classify(
  map: tf.Tensor4D,
  params: ParamsOf<typeof classifierSpec>,
  { dropout = 0.1 }: SegmentationConfig,
  context: ForwardContext,
): tf.Tensor4D {
  const logits = pipe<tf.Tensor4D>(
    map,
    (t: tf.Tensor4D) => dropChannels(t, dropout, context),
    (t: tf.Tensor4D) => convolution(t, params),
  );
  map.dispose();
  return logits;
}

/** Reduces with a sum, freeing both terms. */
export function addAndFree(a: tf.Tensor4D, b: tf.Tensor4D): tf.Tensor4D {
  const sum: tf.Tensor4D = tf.add(a, b);
  tf.dispose([a, b]);
  return sum;
}

/** Concatenates channels, freeing the parts. */
export function concatAndFree(maps: tf.Tensor4D[]): tf.Tensor4D {
  const joined = tf.concat(maps, 3) as tf.Tensor4D;
  tf.dispose(maps);
  return joined;
}

/** Brings a map to a size, bilinearly, freeing it. */
export function resizeAndFree(map: tf.Tensor4D, size: readonly [height: number, width: number]): tf.Tensor4D {
  const resized = resample(map, size, 'bilinear');
  map.dispose();
  return resized;
}

/** Height and width of a map. */
export const sizeOfMap = (map: tf.Tensor4D): [height: number, width: number] => [map.shape[1], map.shape[2]];

/** Checks what all heads share, then joins spec and forward. The maps that `forward` gets are borrowed. */
export function segmentationHead<S extends Spec>(
  who: string,
  config: SegmentationConfig,
  {
    inputs,
    spec,
  }: { readonly inputs: (features: readonly Feature[]) => readonly Feature[]; readonly spec: () => S },
  source: ParamSource,
  forward: (maps: tf.Tensor4D[], params: ParamsOf<S>, context: ForwardContext) => tf.Tensor4D,
): SegmentationHead<S> {
  const { features, classes, channels = 1, dropout = 0 } = config;
  checkFeatures(who, features);
  if (!isCount(classes))
    throw new ConfigError(
      'classes-invalid',
      `${who}: expected at least one class, got ${classes}; correct classes.`,
    );
  if (!isCount(channels))
    throw new ConfigError(
      'channels-invalid',
      `${who}: expected channels to be a positive integer, got ${channels}; correct it.`,
    );
  if (!(dropout >= 0 && dropout < 1))
    throw new ConfigError(
      'dropout-invalid',
      `${who}: expected dropout in [0, 1), got ${dropout}; use 0 to switch it off.`,
    );
  const consumed = inputs(features);
  const model = createModel(
    who,
    spec(),
    source,
    (params) =>
      (pyramid: readonly FeatureMap[], context: ForwardContext = {}) =>
        forward(takeMaps(who, consumed, pyramid), params, context),
  );
  return Object.defineProperties(model, {
    config: { value: config, enumerable: true },
    inputs: { value: consumed, enumerable: true },
  }) as unknown as SegmentationHead<S>;
}
