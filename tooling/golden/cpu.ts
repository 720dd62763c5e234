import type { Golden } from './golden.ts';
import { goldens, goldenSuite, macs } from './suite.ts';

/**
 * tfjs's plain JavaScript backend manages 0.2 multiply-adds a nanosecond: all models would take a quarter of
 * an hour.
 */
const limit = process.env['PVT_GOLDEN'] === 'all' ? Infinity : 2.5e9;

/** The goldens of a version on cpu; a version each, for two workers. */
export function cpuSuite(version: 'v1' | 'v2'): void {
  const own = goldens().filter(({ config }) => config.version === version);
  const reason = 'over 2.5 GMAC, which wasm runs; PVT_GOLDEN=all runs them on cpu too';
  const tooExpensive = (golden: Golden): boolean => macs(golden) > limit;
  if (own.some(tooExpensive))
    console.info(`cpu: ${own.filter(tooExpensive).length} models of ${version} are skipped: ${reason}`);
  goldenSuite('cpu', own, (golden) => (tooExpensive(golden) ? reason : undefined));
}
