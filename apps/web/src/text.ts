/** A duration as people read it: `0.8 ms`, `64 ms`, `2.1 s`. */
export function duration(milliseconds: number): string {
  if (milliseconds < 9.95) return `${milliseconds.toFixed(1)} ms`;
  return milliseconds < 999.5 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

/** A count as people read it: `871.6 K`, `1.2 M`, `3.4 G`. */
export function count(value: number): string {
  const [unit, divisor] =
    value >= 1e9 ? ['G', 1e9] : value >= 1e6 ? ['M', 1e6] : value >= 1e4 ? ['K', 1e3] : ['', 1];
  const scaled = value / (divisor as number);
  return unit === ''
    ? scaled.toLocaleString('en')
    : `${scaled < 99.95 ? scaled.toFixed(1) : Math.round(scaled)} ${unit}`;
}

/** A size as people read it: `320 B`, `4.1 kB`, `2.1 MB`. */
export function bytes(value: number): string {
  if (value < 1000) return `${value} B`;
  const [unit, divisor] = value < 1e6 ? ['kB', 1e3] : ['MB', 1e6];
  return `${(value / divisor).toFixed(value / divisor < 9.95 ? 1 : 0)} ${unit}`;
}

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

export const percent = (share: number): string => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

export const by = (sides: readonly number[]): string => sides.join(' × ');
