import { ConfigError, type Random } from '@pvt/core';

/** Two images in one, their classes in proportion. Where both are given, each batch draws one of them. */
export interface Mix {
  /** Blends images (arXiv:1710.09412); the share comes from Beta(mixup, mixup). */
  readonly mixup?: number;
  /** Puts a rectangle of one image into another (arXiv:1905.04899); its share of the area comes from Beta(cutmix, cutmix). */
  readonly cutmix?: number;
  /** Of a batch being mixed; 1 where absent. */
  readonly probability?: number;
}

/** @throws ConfigError for what is no mix */
export function checkMix({ mixup, cutmix, probability = 1 }: Mix): void {
  const given = [mixup, cutmix].filter((value) => value !== undefined);
  if (given.length === 0 || !given.every((value) => value > 0 && Number.isFinite(value)))
    throw new ConfigError(
      'mix-invalid',
      `mix: expected mixup or cutmix to be a positive number, got ${mixup ?? 'none'} and ${cutmix ?? 'none'}; 0.8 and 1 are usual.`,
    );
  if (!(probability >= 0 && probability <= 1))
    throw new ConfigError(
      'mix-invalid',
      `mix: expected a probability from 0 to 1, got ${probability}; leave it out for 1.`,
    );
}

/** Gamma(shape, 1), by Marsaglia and Tsang's method; below a shape of 1 by way of shape + 1. */
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
  // Both may vanish for a small alpha, where the share is as good as 0 or 1.
  return a + b === 0 ? Math.round(random.uniform()) : a / (a + b);
}

/**
 * Mixes each image of a batch with the one that lies as far from the end as it from the start, in place.
 *
 * @param inputs [batch, height, width, 3]
 * @param soft [batch, classes], the probability of each class; changed alike
 * @returns the share that each image keeps of its own; 1 where the batch was left alone
 * @throws ConfigError for what is no mix
 * @example
 * const share = mix(inputs, [32, 64, 64, 3], soft, { mixup: 0.8, cutmix: 1 }, createRandom(7));
 */
export function mix(
  inputs: Float32Array,
  [batch, height, width, channels]: readonly [number, number, number, number],
  soft: Float32Array,
  settings: Mix,
  random: Random,
): number {
  checkMix(settings);
  const { mixup, cutmix, probability = 1 } = settings;
  if (random.uniform() >= probability) return 1;
  const cutting = cutmix !== undefined && (mixup === undefined || random.uniform() < 0.5);
  let share = beta(random, (cutting ? cutmix : mixup)!);
  let [top, left, bottom, right] = [0, 0, height, width];
  if (cutting) {
    const side = Math.sqrt(1 - share);
    const [y, x] = [Math.floor(random.uniform() * height), Math.floor(random.uniform() * width)];
    [top, bottom] = [-0.5, 0.5].map((half) =>
      Math.min(height, Math.max(0, Math.round(y + half * side * height))),
    ) as [number, number];
    [left, right] = [-0.5, 0.5].map((half) =>
      Math.min(width, Math.max(0, Math.round(x + half * side * width))),
    ) as [number, number];
    // What the rectangle really covers, its parts beyond the edge aside.
    share = 1 - ((bottom - top) * (right - left)) / (height * width);
  }
  const own = cutting ? 0 : share;
  const blend = (values: Float32Array, first: number, second: number, keep: number): void => {
    const [a, b] = [values[first]!, values[second]!];
    values[first] = keep * a + (1 - keep) * b;
    values[second] = keep * b + (1 - keep) * a;
  };
  const size = height * width * channels;
  const classes = soft.length / batch;
  for (let i = 0; i < Math.floor(batch / 2); i++) {
    const j = batch - 1 - i;
    for (let row = top; row < bottom; row++) {
      for (let at = (row * width + left) * channels; at < (row * width + right) * channels; at++)
        blend(inputs, i * size + at, j * size + at, own);
    }
    for (let k = 0; k < classes; k++) blend(soft, i * classes + k, j * classes + k, share);
  }
  return share;
}
