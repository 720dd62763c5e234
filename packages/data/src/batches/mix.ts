import { ConfigError, type Random } from '@pvt/core';

/**
 * How pairs of images of a batch are mixed, their classes in proportion. If both kinds are given, each batch
 * draws one.
 */
export interface MixOptions {
  /** Blends images (arXiv:1710.09412); the share comes from Beta(mixup, mixup). */
  readonly mixup?: number;
  /**
   * Pastes a rectangle of another image (arXiv:1905.04899); its share of the area comes from Beta(cutmix,
   * cutmix).
   */
  readonly cutmix?: number;
  /** Probability that a batch is mixed. Default: 1. */
  readonly probability?: number;
}

/** @throws ConfigError for invalid options */
export function checkMix({ mixup, cutmix, probability = 1 }: MixOptions): void {
  const given = [mixup, cutmix].filter((value) => value !== undefined);
  if (given.length === 0 || !given.every((value) => value > 0 && Number.isFinite(value)))
    throw new ConfigError(
      'mix-invalid',
      'mix: expected mixup or cutmix to be a positive number, ' +
        `got ${mixup ?? 'none'} and ${cutmix ?? 'none'}; 0.8 and 1 are usual.`,
    );
  if (!(probability >= 0 && probability <= 1))
    throw new ConfigError(
      'mix-invalid',
      `mix: expected a probability from 0 to 1, got ${probability}; omit it for 1.`,
    );
}

/** Gamma(shape, 1) by Marsaglia and Tsang's method; shapes below 1 by way of shape + 1. */
function gamma(random: Random, shape: number): number {
  if (shape < 1) return gamma(random, shape + 1) * random.uniform() ** (1 / shape);
  const d = shape - 1 / 3;
  for (;;) {
    const x = random.normal();
    const v = (1 + x / Math.sqrt(9 * d)) ** 3;
    if (v > 0 && Math.log(1 - random.uniform()) < (x * x) / 2 + d - d * v + d * Math.log(v)) return d * v;
  }
}

function beta(random: Random, alpha: number): number {
  const [a, b] = [gamma(random, alpha), gamma(random, alpha)];
  // Both may underflow to 0 for a small alpha, for which the share is as good as 0 or 1.
  return a + b === 0 ? Math.round(random.uniform()) : a / (a + b);
}

/** Rows and columns of a random rectangle that covers `share` of an image, cut at its edges. */
function randomRectangle(random: Random, share: number, height: number, width: number) {
  const side = Math.sqrt(share);
  const [y, x] = [Math.floor(random.uniform() * height), Math.floor(random.uniform() * width)];
  const edge = (center: number, half: number, length: number): number =>
    Math.min(length, Math.max(0, Math.round(center + half * side * length)));
  return {
    top: edge(y, -0.5, height),
    bottom: edge(y, 0.5, height),
    left: edge(x, -0.5, width),
    right: edge(x, 0.5, width),
  };
}

/** Replaces two values by their weighted means. */
function blend(values: Float32Array, first: number, second: number, share: number): void {
  const [a, b] = [values[first]!, values[second]!];
  values[first] = share * a + (1 - share) * b;
  values[second] = share * b + (1 - share) * a;
}

/**
 * Mixes the first image of a batch with the last, the second with the one before it, and so on, in place.
 *
 * @param inputs [batch, height, width, channels]
 * @param soft [batch, classes], the probability of each class; mixed alike
 * @returns the share that each image retains of itself; 1 if the batch was left alone
 * @throws ConfigError for invalid options
 * @example
 * const share = mix(inputs, [32, 64, 64, 3], soft, { mixup: 0.8, cutmix: 1 }, createRandom(7));
 */
export function mix(
  inputs: Float32Array,
  [batch, height, width, channels]: readonly [number, number, number, number],
  soft: Float32Array,
  options: MixOptions,
  random: Random,
): number {
  checkMix(options);
  const { mixup, cutmix, probability = 1 } = options;
  if (random.uniform() >= probability) return 1;
  const cutting = cutmix !== undefined && (mixup === undefined || random.uniform() < 0.5);
  let share = beta(random, (cutting ? cutmix : mixup)!);
  let region = { top: 0, left: 0, bottom: height, right: width };
  if (cutting) {
    region = randomRectangle(random, 1 - share, height, width);
    // The rectangle may have been cut at an edge.
    share = 1 - ((region.bottom - region.top) * (region.right - region.left)) / (height * width);
  }
  const { top, left, bottom, right } = region;
  const pixelShare = cutting ? 0 : share;
  const size = height * width * channels;
  const classes = soft.length / batch;
  for (let i = 0; i < Math.floor(batch / 2); i++) {
    const j = batch - 1 - i;
    for (let row = top; row < bottom; row++) {
      for (let at = (row * width + left) * channels; at < (row * width + right) * channels; at++)
        blend(inputs, i * size + at, j * size + at, pixelShare);
    }
    for (let k = 0; k < classes; k++) blend(soft, i * classes + k, j * classes + k, share);
  }
  return share;
}
