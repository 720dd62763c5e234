import type * as tf from '@tensorflow/tfjs-core';
import { ConfigError, ShapeError, type Feature, type FeatureMap } from '@pvt/core';

const list = (features: readonly Feature[]): string =>
  features.map(({ stride, channels }) => `${channels} channels at stride ${stride}`).join(', ') || 'none';

/** Whether `value` counts something: an integer of at least `least`. */
export const isCount = (value: unknown, least = 1): boolean =>
  Number.isSafeInteger(value) && (value as number) >= least;

/**
 * Checks the levels that a head is to be built on, before any tensor exists.
 *
 * @throws ConfigError unless there are at least `least` of them, from fine to coarse, each with channels
 */
export function checkFeatures(who: string, features: readonly Feature[], least = 1): readonly Feature[] {
  const fits =
    Array.isArray(features) &&
    features.length >= least &&
    features.every(
      ({ stride, channels }, i) => isCount(channels) && stride > (i === 0 ? 0 : features[i - 1]!.stride),
    );
  if (!fits) {
    throw new ConfigError(
      'features-invalid',
      `${who}: expected at least ${least} pyramid level(s) with channels and rising strides, got ${Array.isArray(features) ? list(features) : typeof features}; pass backbone.features or a slice of it.`,
    );
  }
  return features;
}

/**
 * The maps that a head consumes, out of a pyramid that may have others besides.
 *
 * @throws ShapeError where a level is not there with its stride and channels
 */
export function takeMaps(
  who: string,
  consumes: readonly Feature[],
  pyramid: readonly FeatureMap[],
): tf.Tensor4D[] {
  return consumes.map((feature) => {
    const map = pyramid.find(
      ({ stride, tensor }) =>
        stride === feature.stride && tensor.rank === 4 && tensor.shape[3] === feature.channels,
    );
    if (map === undefined) {
      throw new ShapeError(
        'pyramid-misfit',
        `${who}: expected a map of ${feature.channels} channels at stride ${feature.stride}, got ${list(pyramid.map(({ name, stride, tensor }) => ({ name, stride, channels: tensor.shape[3] })))}; build the head for the features of its backbone.`,
      );
    }
    return map.tensor;
  });
}

/** A name for a level by its stride, as detectors number them: P3 has stride 8. */
export const levelName = (stride: number): string => `p${Math.log2(stride)}`;
