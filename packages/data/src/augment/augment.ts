import { ConfigError, type Random, type Size } from '@pvt/core';
import type { Target } from '../dataSet.ts';
import { changeColour } from './colour.ts';
import { cover, crop, flip, resizeSample, turn, type Labelled } from './geometry.ts';

type Range = readonly [least: number, most: number];

/** One random change of a sample. Probabilities, shares and factors, no pixels: a list of steps fits any size. */
export type AugmentStep =
  /** Mirrors, each way with its own probability. */
  | { readonly kind: 'flip'; readonly horizontal?: number; readonly vertical?: number }
  /** Turns by 0, 90, 180 or 270 degrees. */
  | { readonly kind: 'turn' }
  /** A random part, stretched to the input's size (Inception's crop, torchvision's `RandomResizedCrop`): share of the area, aspect ratio. */
  | { readonly kind: 'resizedCrop'; readonly area?: Range; readonly aspect?: Range; readonly keep?: number }
  /** Scales the image that fits the input by a factor, then cuts or pads it at a random place (large-scale jitter, arXiv:2012.07177). */
  | { readonly kind: 'scaledCrop'; readonly scale: Range; readonly keep?: number }
  /** Moves the image by up to this share of its sides. */
  | { readonly kind: 'shift'; readonly by: number; readonly keep?: number }
  /** Factors from 1 - x to 1 + x, and the hue by up to `hue` turns of the colour circle. */
  | {
      readonly kind: 'colour';
      readonly brightness?: number;
      readonly contrast?: number;
      readonly saturation?: number;
      readonly hue?: number;
    }
  /** Covers a random rectangle (arXiv:1708.04896): share of the area, aspect ratio. */
  | {
      readonly kind: 'erase';
      readonly probability?: number;
      readonly area?: Range;
      readonly aspect?: Range;
      readonly keep?: number;
    };

const between = (random: Random, [least, most]: Range): number => least + (most - least) * random.uniform();
/** A whole number from 0 to `most`; the other way round where `most` is negative. */
const upTo = (random: Random, most: number): number =>
  Math.floor(random.uniform() * (Math.abs(most) + 1)) * Math.sign(most);

/** A random rectangle in an image, or none where ten draws did not fit. */
function rectangle(
  { width, height }: { readonly width: number; readonly height: number },
  area: Range,
  aspect: Range,
  random: Random,
) {
  for (let i = 0; i < 10; i++) {
    const pixels = width * height * between(random, area);
    const ratio = Math.exp(between(random, [Math.log(aspect[0]), Math.log(aspect[1])]));
    const [w, h] = [Math.round(Math.sqrt(pixels * ratio)), Math.round(Math.sqrt(pixels / ratio))];
    if (w > 0 && h > 0 && w <= width && h <= height)
      return { top: upTo(random, height - h), left: upTo(random, width - w), height: h, width: w };
  }
  return undefined;
}

/** The largest [height, width] of an image's shape within `size`. */
export function within(
  { width, height }: { readonly width: number; readonly height: number },
  [h, w]: Size,
  factor = 1,
): Size {
  const scale = Math.min(h / height, w / width) * factor;
  return [Math.max(1, Math.round(height * scale)), Math.max(1, Math.round(width * scale))];
}

function apply<T extends Target>(
  sample: Labelled<T>,
  step: AugmentStep,
  random: Random,
  size: Size,
): Labelled<T> {
  const { image } = sample;
  const { width, height } = image;
  const keep = 'keep' in step && step.keep !== undefined ? { keep: step.keep } : {};
  switch (step.kind) {
    case 'flip': {
      const [across, down] = [
        random.uniform() < (step.horizontal ?? 0),
        random.uniform() < (step.vertical ?? 0),
      ];
      const mirrored = across ? flip(sample, 'horizontal') : sample;
      return down ? flip(mirrored, 'vertical') : mirrored;
    }
    case 'turn':
      return turn(sample, upTo(random, 3));
    case 'resizedCrop': {
      const window = rectangle(image, step.area ?? [0.08, 1], step.aspect ?? [3 / 4, 4 / 3], random);
      return resizeSample(window ? crop(sample, window, keep) : sample, size);
    }
    case 'scaledCrop': {
      const scaled = resizeSample(sample, within(image, size, between(random, step.scale)));
      const [h, w] = size;
      return crop(
        scaled,
        {
          top: upTo(random, scaled.image.height - h),
          left: upTo(random, scaled.image.width - w),
          height: h,
          width: w,
        },
        keep,
      );
    }
    case 'shift': {
      const [down, across] = [Math.round(height * step.by), Math.round(width * step.by)];
      return crop(
        sample,
        { top: upTo(random, 2 * down) - down, left: upTo(random, 2 * across) - across, height, width },
        keep,
      );
    }
    case 'colour': {
      const factor = (most = 0): number => between(random, [Math.max(0, 1 - most), 1 + most]);
      const change = {
        brightness: factor(step.brightness),
        contrast: factor(step.contrast),
        saturation: factor(step.saturation),
        hue: between(random, [-(step.hue ?? 0), step.hue ?? 0]),
      };
      return { ...sample, image: changeColour(image, change) };
    }
    case 'erase': {
      const chosen = random.uniform() < (step.probability ?? 0.25);
      const window = rectangle(image, step.area ?? [0.02, 1 / 3], step.aspect ?? [0.3, 3.3], random);
      return chosen && window ? cover(sample, window, keep) : sample;
    }
  }
}

const fields: Record<AugmentStep['kind'], Record<string, 'share' | 'shares' | 'factors'>> = {
  flip: { horizontal: 'share', vertical: 'share' },
  turn: {},
  resizedCrop: { area: 'shares', aspect: 'factors', keep: 'share' },
  scaledCrop: { scale: 'factors', keep: 'share' },
  shift: { by: 'share', keep: 'share' },
  colour: { brightness: 'share', contrast: 'share', saturation: 'share', hue: 'share' },
  erase: { probability: 'share', area: 'shares', aspect: 'factors', keep: 'share' },
};

const isRange = (value: unknown): value is Range =>
  Array.isArray(value) &&
  value.length === 2 &&
  value.every(Number.isFinite) &&
  value[0] > 0 &&
  value[0] <= value[1];
const valid = {
  share: {
    test: (value: unknown) => typeof value === 'number' && value >= 0 && value <= 1,
    means: 'a number from 0 to 1',
  },
  shares: {
    test: (value: unknown) => isRange(value) && value[1] <= 1,
    means: 'two shares of the area, as [0.1, 1]',
  },
  factors: { test: isRange, means: 'two positive factors, the smaller first, as [0.5, 2]' },
};

/** @throws ConfigError for a step that is unknown, or a value out of its range */
export function checkSteps(steps: readonly AugmentStep[]): void {
  for (const { kind, ...values } of steps) {
    const known = fields[kind];
    if (known === undefined)
      throw new ConfigError(
        'augment-invalid',
        `augment: expected steps of the kinds ${Object.keys(fields).join(', ')}, got ${String(kind)}; name one of these.`,
      );
    const needed = { scaledCrop: 'scale', shift: 'by' }[kind as string];
    for (const [field, value] of Object.entries({ ...(needed && { [needed]: undefined }), ...values })) {
      const rule = known[field] && valid[known[field]];
      if (!rule)
        throw new ConfigError(
          'augment-invalid',
          `augment: expected ${kind} with ${Object.keys(known).join(', ') || 'no fields'}, got ${field}; take it out.`,
        );
      if (!rule.test(value))
        throw new ConfigError(
          'augment-invalid',
          `augment: expected ${kind}.${field} to be ${rule.means}, got ${JSON.stringify(value)}; correct it.`,
        );
    }
  }
}

/**
 * Steps of augmentation, in their order, on an image and its target alike: boxes and label maps follow the pixels, a class stays.
 * The same numbers from `random` give the same result.
 *
 * @throws ConfigError for a step that is unknown, or a value out of its range
 * @param size [height, width] of the model's input, which crops end at
 * @example
 * const changed = augment({ image, target: boxes }, [{ kind: 'scaledCrop', scale: [0.5, 2] }, { kind: 'flip', horizontal: 0.5 }], createRandom(7), [240, 320]);
 */
export function augment<T extends Target>(
  sample: Labelled<T>,
  steps: readonly AugmentStep[],
  random: Random,
  size: Size,
): Labelled<T> {
  checkSteps(steps);
  return steps.reduce((changed, step) => apply(changed, step, random, size), sample);
}
