import { ConfigError } from '@pvt/core';

/** A factor on the optimizer's learning rate, by the progress of the run between 0 and 1. */
export type Schedule = (progress: number) => number;

/** The optimizer's learning rate throughout. */
export const constantSchedule: Schedule = () => 1;

/**
 * A linear warm-up, then half a period of a cosine (Loshchilov and Hutter, SGDR, arXiv:1608.03983).
 *
 * @param warmup share of the run that the warm-up takes, in [0, 1). Default: 0.05
 * @param start factor at the beginning of the warm-up. Default: 0.01
 * @param end factor at the end of the cosine. Default: 0.01
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
