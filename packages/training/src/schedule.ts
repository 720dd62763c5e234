import { ConfigError } from '@pvt/core';

/** The learning rate as a share of the optimiser's, for a progress between 0 and 1. */
export type Schedule = (progress: number) => number;

/** No schedule. */
export const constant: Schedule = () => 1;

/**
 * A linear rise and then half a cosine down (Loshchilov and Hutter, SGDR, arXiv:1608.03983).
 *
 * @param warmup share of the run that the rise takes, in [0, 1)
 * @param start share of the learning rate that the rise begins with
 * @param end share of the learning rate that the cosine ends with
 * @throws ConfigError for a warm-up outside [0, 1)
 * @example
 * const schedule = warmupCosine({ warmup: 0.05 });
 */
export function warmupCosine({
  warmup = 0.05,
  start = 0.01,
  end = 0.01,
}: { readonly warmup?: number; readonly start?: number; readonly end?: number } = {}): Schedule {
  if (!(warmup >= 0 && warmup < 1))
    throw new ConfigError(
      'warmup-invalid',
      `warmupCosine: expected a share of the run in [0, 1), got ${warmup}; use 0 for no warm-up.`,
    );
  return (progress) => {
    if (progress < warmup) return start + ((1 - start) * progress) / warmup;
    return end + ((1 - end) * (1 + Math.cos((Math.PI * (progress - warmup)) / (1 - warmup)))) / 2;
  };
}
