import type * as tf from '@tensorflow/tfjs-core';
import { ConfigError, ShapeError, type Feature, type FeatureMap } from '@pvt/core';

const describe = (features: readonly Pick<Feature, 'stride' | 'channels'>[]): string =>
  features.map(({ stride, channels }) => `${channels} channels at stride ${stride}`).join(', ') || 'none';

/** Whether `value` is an integer of at least `min`. */
export const isCount = (value: unknown, min = 1): boolean =>
  Number.isSafeInteger(value) && (value as number) >= min;

/** @throws ConfigError unless there is at least one class */
export function checkClasses(who: string, classes: number): void {
  if (isCount(classes)) return;
  throw new ConfigError(
    'classes-invalid',
    `${who}: expected at least one class, got ${classes}; correct classes.`,
  );
}

/**
 * Checks the levels that a head is built for, before any tensor exists.
 *
 * @throws ConfigError unless there are at least `min` of them, from fine to coarse, each with channels
 */
export function checkFeatures(who: string, features: readonly Feature[], min = 1): readonly Feature[] {
  const valid =
    Array.isArray(features) &&
    features.length >= min &&
    features.every(
      ({ stride, channels }, i) => isCount(channels) && stride > (i === 0 ? 0 : features[i - 1]!.stride),
    );
  if (valid) return features;
  throw new ConfigError(
    'features-invalid',
    `${who}: expected at least ${min} pyramid level(s) with channels and rising strides, ` +
      `got ${Array.isArray(features) ? describe(features) : typeof features}; ` +
      'pass backbone.features or a slice of it.',
  );
}

/**
 * Selects a head's inputs from a pyramid, which may have other levels besides.
 *
 * @throws ShapeError if no level has an input's stride and channels
 */
export function selectMaps(
  who: string,
  inputs: readonly Feature[],
  pyramid: readonly FeatureMap[],
): tf.Tensor4D[] {
  return inputs.map(({ stride, channels }) => {
    const map = pyramid.find(
      ({ stride: other, tensor }) => other === stride && tensor.rank === 4 && tensor.shape[3] === channels,
    );
    if (map !== undefined) return map.tensor;
    const found = pyramid.map(({ stride, tensor }) => ({ stride, channels: tensor.shape[3] }));
    throw new ShapeError(
      'pyramid-misfit',
      `${who}: expected a map of ${channels} channels at stride ${stride}, got ${describe(found)}; ` +
        'build the head for the features of its backbone.',
    );
  });
}

/** A name for a level by its stride, as detectors number them: P3 has stride 8. */
export const levelName = (stride: number): string => `p${Math.log2(stride)}`;
