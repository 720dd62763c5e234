import type { BackendName, Check } from './protocol.ts';

/** How many times faster another backend must promise to be before the page switches to it. */
export const switchFactor = 1.3;

/** Estimated milliseconds per image: linear in the multiply-adds, through the two probes. */
export function estimateMilliseconds({ small, large }: Check, macs: number): number {
  if (large === undefined) return Infinity;
  const perMac = Math.max(0, (large.milliseconds - small.milliseconds) / (large.macs - small.macs));
  return Math.max(0.1, small.milliseconds + perMac * (macs - small.macs));
}

/**
 * The backend that passed its self-check and should be fastest for a model of `macs` multiply-adds. The
 * current one stays unless another is faster by `switchFactor`.
 */
export function fastestBackend(
  checks: readonly Check[],
  macs: number,
  current?: BackendName,
): BackendName | undefined {
  const ranked = checks
    .filter(({ passed }) => passed)
    .map((check) => ({
      backend: check.backend,
      milliseconds: estimateMilliseconds(check, macs) / (check.backend === current ? switchFactor : 1),
    }))
    .sort((a, b) => a.milliseconds - b.milliseconds);
  return ranked[0]?.backend;
}
