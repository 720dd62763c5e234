import type { BackendName, Check } from './protocol.ts';

/** Another backend must promise to be this much faster before one that runs is left. */
export const gain = 1.3;

/** Milliseconds that an image will take: a fixed part and one that grows with the work, from two probes. */
export function estimate({ small, large }: Check, macs: number): number {
  if (large === undefined) return Infinity;
  const perMac = Math.max(0, (large.milliseconds - small.milliseconds) / (large.macs - small.macs));
  return Math.max(0.1, small.milliseconds + perMac * (macs - small.macs));
}

/** The backend that computes rightly and should be fastest for a model; one that is only a little slower stays if it runs already. */
export function choose(
  checks: readonly Check[],
  macs: number,
  current?: BackendName,
): BackendName | undefined {
  const ranked = checks
    .filter(({ right }) => right)
    .map((check) => ({
      backend: check.backend,
      milliseconds: estimate(check, macs) / (check.backend === current ? gain : 1),
    }));
  ranked.sort((a, b) => a.milliseconds - b.milliseconds);
  return ranked[0]?.backend;
}
