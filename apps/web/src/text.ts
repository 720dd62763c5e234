/** A duration for people to read: `0.8 ms`, `64 ms`, `2.1 s`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 9.95) return `${milliseconds.toFixed(1)} ms`;
  return milliseconds < 999.5 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

const countUnits = [
  ['G', 1e9],
  ['M', 1e6],
  ['K', 1e3],
] as const;

/** A count for people to read: `9,216`, `871.6 K`, `1.2 M`, `3.4 G`. */
export function formatCount(value: number): string {
  if (value < 1e4) return value.toLocaleString('en');
  const [unit, divisor] = countUnits.find(([, least]) => value >= least)!;
  const scaled = value / divisor;
  return `${scaled < 99.95 ? scaled.toFixed(1) : Math.round(scaled)} ${unit}`;
}

/** A size in bytes for people to read: `320 B`, `4.1 kB`, `2.1 MB`. */
export function formatBytes(value: number): string {
  if (value < 1000) return `${value} B`;
  const [unit, divisor] = value < 1e6 ? ['kB', 1e3] : ['MB', 1e6];
  return `${(value / divisor).toFixed(value / divisor < 9.95 ? 1 : 0)} ${unit}`;
}

/** A size in megabytes, however small: the unit stays the same while a download goes on. */
export const formatMegabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** A share between 0 and 1 in percent: `4.2 %`, `87 %`. */
export const formatPercent = (share: number): string => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

/** The sides of a shape: `224 × 320`. */
export const formatShape = (sides: readonly number[]): string => sides.join(' × ');

/** A number with its noun: `1 image`, `3 images`. */
export const formatPlural = (number: number, noun: string): string =>
  `${number} ${noun}${number === 1 ? '' : 's'}`;
