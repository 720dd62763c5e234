import { letterboxSize } from '@pvt/adapter-image';
import { ConfigError, type Image, type Random, type Size } from '@pvt/core';
import type { LabelledImage, Target } from '../dataSet.ts';
import { adjustColor } from './color.ts';
import { crop, erase, flip, resizeSample, rotate90, type CropOptions, type Region } from './geometry.ts';

type Range = readonly [least: number, most: number];

/** Mirrors, each way with its own probability. */
interface FlipStep {
  readonly kind: 'flip';
  readonly horizontal?: number;
  readonly vertical?: number;
}

/** Rotates by 0, 90, 180 or 270 degrees. */
interface Rotate90Step {
  readonly kind: 'rotate90';
}

interface CropStep {
  /** Boxes are dropped if less than this share of their area stays visible. Default: 0.3. */
  readonly minVisibility?: number;
}

/** A random part, stretched to the input's size (Inception's crop, torchvision's `RandomResizedCrop`). */
interface ResizedCropStep extends CropStep {
  readonly kind: 'resizedCrop';
  /** Share of the image's area. Default: [0.08, 1]. */
  readonly area?: Range;
  /** Aspect ratio. Default: [3/4, 4/3]. */
  readonly aspect?: Range;
}

/**
 * Scales the image by a factor, where 1 letterboxes it into the input, and cuts or pads it at a random place
 * (large-scale jitter, arXiv:2012.07177).
 */
interface ScaledCropStep extends CropStep {
  readonly kind: 'scaledCrop';
  readonly scale: Range;
}

/** Moves the image by up to this share of its sides. */
interface ShiftStep extends CropStep {
  readonly kind: 'shift';
  readonly by: number;
}

/**
 * Factors from 1 - x to 1 + x, and a rotation of the hue by up to a share of the color circle
 * (`ColorJitter`).
 */
interface ColorJitterStep {
  readonly kind: 'colorJitter';
  readonly brightness?: number;
  readonly contrast?: number;
  readonly saturation?: number;
  readonly hue?: number;
}

/** Erases a random rectangle (arXiv:1708.04896, torchvision's `RandomErasing`). */
interface EraseStep extends CropStep {
  readonly kind: 'erase';
  /** Default: 0.25. */
  readonly probability?: number;
  /** Share of the image's area. Default: [0.02, 1/3]. */
  readonly area?: Range;
  /** Aspect ratio. Default: [0.3, 3.3]. */
  readonly aspect?: Range;
}

/**
 * One random change of a sample, in probabilities, shares and factors instead of pixels, so that it suits any
 * size.
 */
export type AugmentStep =
  FlipStep | Rotate90Step | ResizedCropStep | ScaledCropStep | ShiftStep | ColorJitterStep | EraseStep;

const uniform = (random: Random, [least, most]: Range): number => least + (most - least) * random.uniform();

/** An integer from 0 to `most`, which may be negative. */
const randomInteger = (random: Random, most: number): number =>
  Math.floor(random.uniform() * (Math.abs(most) + 1)) * Math.sign(most);

/** A random rectangle in an image, or undefined if ten draws did not fit. */
function randomRegion(
  { width, height }: Image,
  area: Range,
  aspect: Range,
  random: Random,
): Region | undefined {
  for (let i = 0; i < 10; i++) {
    const pixels = width * height * uniform(random, area);
    const ratio = Math.exp(uniform(random, [Math.log(aspect[0]), Math.log(aspect[1])]));
    const [w, h] = [Math.round(Math.sqrt(pixels * ratio)), Math.round(Math.sqrt(pixels / ratio))];
    if (w > 0 && h > 0 && w <= width && h <= height)
      return {
        top: randomInteger(random, height - h),
        left: randomInteger(random, width - w),
        height: h,
        width: w,
      };
  }
  return undefined;
}

const cropOptions = ({ minVisibility }: CropStep): CropOptions =>
  minVisibility === undefined ? {} : { minVisibility };

function randomFlip<T extends Target>(
  sample: LabelledImage<T>,
  { horizontal = 0, vertical = 0 }: FlipStep,
  random: Random,
): LabelledImage<T> {
  const [mirrorX, mirrorY] = [random.uniform() < horizontal, random.uniform() < vertical];
  const mirrored = mirrorX ? flip(sample, 'horizontal') : sample;
  return mirrorY ? flip(mirrored, 'vertical') : mirrored;
}

function randomResizedCrop<T extends Target>(
  sample: LabelledImage<T>,
  { area = [0.08, 1], aspect = [3 / 4, 4 / 3], ...step }: ResizedCropStep,
  random: Random,
  size: Size,
): LabelledImage<T> {
  const region = randomRegion(sample.image, area, aspect, random);
  return resizeSample(region ? crop(sample, region, cropOptions(step)) : sample, size);
}

function randomScaledCrop<T extends Target>(
  sample: LabelledImage<T>,
  step: ScaledCropStep,
  random: Random,
  size: Size,
): LabelledImage<T> {
  const { image } = sample;
  const scaled = resizeSample(
    sample,
    letterboxSize([image.height, image.width], size, uniform(random, step.scale)),
  );
  const [height, width] = size;
  const top = randomInteger(random, scaled.image.height - height);
  const left = randomInteger(random, scaled.image.width - width);
  return crop(scaled, { top, left, height, width }, cropOptions(step));
}

function randomShift<T extends Target>(
  sample: LabelledImage<T>,
  step: ShiftStep,
  random: Random,
): LabelledImage<T> {
  const { width, height } = sample.image;
  const [mostY, mostX] = [Math.round(height * step.by), Math.round(width * step.by)];
  const top = randomInteger(random, 2 * mostY) - mostY;
  const left = randomInteger(random, 2 * mostX) - mostX;
  return crop(sample, { top, left, height, width }, cropOptions(step));
}

function colorJitter<T extends Target>(
  sample: LabelledImage<T>,
  step: ColorJitterStep,
  random: Random,
): LabelledImage<T> {
  const factor = (most = 0): number => uniform(random, [Math.max(0, 1 - most), 1 + most]);
  const adjustment = {
    brightness: factor(step.brightness),
    contrast: factor(step.contrast),
    saturation: factor(step.saturation),
    hue: uniform(random, [-(step.hue ?? 0), step.hue ?? 0]),
  };
  return { ...sample, image: adjustColor(sample.image, adjustment) };
}

function randomErase<T extends Target>(
  sample: LabelledImage<T>,
  { probability = 0.25, area = [0.02, 1 / 3], aspect = [0.3, 3.3], ...step }: EraseStep,
  random: Random,
): LabelledImage<T> {
  const chosen = random.uniform() < probability;
  const region = randomRegion(sample.image, area, aspect, random);
  return chosen && region ? erase(sample, region, cropOptions(step)) : sample;
}

function applyStep<T extends Target>(
  sample: LabelledImage<T>,
  step: AugmentStep,
  random: Random,
  size: Size,
): LabelledImage<T> {
  switch (step.kind) {
    case 'flip':
      return randomFlip(sample, step, random);
    case 'rotate90':
      return rotate90(sample, randomInteger(random, 3));
    case 'resizedCrop':
      return randomResizedCrop(sample, step, random, size);
    case 'scaledCrop':
      return randomScaledCrop(sample, step, random, size);
    case 'shift':
      return randomShift(sample, step, random);
    case 'colorJitter':
      return colorJitter(sample, step, random);
    case 'erase':
      return randomErase(sample, step, random);
  }
}

const fields: Record<AugmentStep['kind'], Record<string, 'share' | 'shares' | 'factors'>> = {
  flip: { horizontal: 'share', vertical: 'share' },
  rotate90: {},
  resizedCrop: { area: 'shares', aspect: 'factors', minVisibility: 'share' },
  scaledCrop: { scale: 'factors', minVisibility: 'share' },
  shift: { by: 'share', minVisibility: 'share' },
  colorJitter: { brightness: 'share', contrast: 'share', saturation: 'share', hue: 'share' },
  erase: { probability: 'share', area: 'shares', aspect: 'factors', minVisibility: 'share' },
};
const required: Readonly<Record<string, string>> = { scaledCrop: 'scale', shift: 'by' };

const isRange = (value: unknown): value is Range =>
  Array.isArray(value) &&
  value.length === 2 &&
  value.every(Number.isFinite) &&
  value[0] > 0 &&
  value[0] <= value[1];
const rules = {
  share: {
    test: (value: unknown) => typeof value === 'number' && value >= 0 && value <= 1,
    expected: 'a number from 0 to 1',
  },
  shares: {
    test: (value: unknown) => isRange(value) && value[1] <= 1,
    expected: 'two shares of the area, as [0.1, 1]',
  },
  factors: { test: isRange, expected: 'two positive factors, the smaller first, as [0.5, 2]' },
};

/** @throws ConfigError for an unknown step, or a value out of its range */
export function checkSteps(steps: readonly AugmentStep[]): void {
  for (const { kind, ...values } of steps) {
    const known = fields[kind];
    if (known === undefined)
      throw new ConfigError(
        'augment-invalid',
        `augment: expected steps of the kinds ${Object.keys(fields).join(', ')}, got ${String(kind)}; ` +
          'name one of these.',
      );
    const needed = required[kind];
    for (const [field, value] of Object.entries({ ...(needed && { [needed]: undefined }), ...values })) {
      const rule = known[field] && rules[known[field]];
      if (!rule)
        throw new ConfigError(
          'augment-invalid',
          `augment: expected ${kind} with ${Object.keys(known).join(', ') || 'no fields'}, got ${field}; ` +
            'remove it.',
        );
      if (!rule.test(value))
        throw new ConfigError(
          'augment-invalid',
          `augment: expected ${kind}.${field} to be ${rule.expected}, got ${JSON.stringify(value)}; ` +
            'correct it.',
        );
    }
  }
}

/**
 * Applies steps in order to an image and its target: boxes and label maps move along with the pixels, a class
 * stays. The result depends on the numbers from `random` alone.
 *
 * @param size [height, width] of the model's input, at which crops end
 * @throws ConfigError for an unknown step, or a value out of its range
 * @example
 * const steps = [{ kind: 'scaledCrop', scale: [0.5, 2] }, { kind: 'flip', horizontal: 0.5 }];
 * const augmented = augment({ image, target: boxes }, steps, createRandom(7), [240, 320]);
 */
export function augment<T extends Target>(
  sample: LabelledImage<T>,
  steps: readonly AugmentStep[],
  random: Random,
  size: Size,
): LabelledImage<T> {
  checkSteps(steps);
  return steps.reduce((augmented, step) => applyStep(augmented, step, random, size), sample);
}
