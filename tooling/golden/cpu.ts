import { goldens, goldenSuite, macs } from './suite.ts';

/** tfjs's plain JavaScript backend manages 0.2 multiply-adds a nanosecond: all models would take a quarter of an hour. */
const limit = process.env['PVT_GOLDEN'] === 'all' ? Infinity : 2.5e9;

/** The goldens of a version on cpu; a version each, for two workers. */
export function cpuSuite(version: 'v1' | 'v2'): void {
  const own = goldens().filter(({ config }) => config.version === version);
  goldenSuite(
    'cpu',
    own.filter((golden) => macs(golden) <= limit),
    { goldens: own.filter((golden) => macs(golden) > limit), reason: 'over 2.5 GMAC, and wasm runs them; PVT_GOLDEN=all npm test runs them on cpu too' },
  );
}
