const units = ['', ' k', ' M', ' G', ' T'];

/** A count with three digits and a unit: 3666760 is "3.67 M". */
export function compact(value: number): string {
  let unit = 0;
  let scaled = value;
  while (Math.abs(scaled) >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${scaled.toFixed(digitsOf(scaled, unit))}${units[unit]}`;
}

/** Digits after the point that make three in all. */
function digitsOf(scaled: number, unit: number): number {
  if (unit === 0 || scaled >= 99.95) return 0;
  return scaled < 9.995 ? 2 : 1;
}

/** Every digit of a count, in groups of three. */
export const exact = (value: number): string => value.toLocaleString('en-US');

/** Bytes in decimal units. */
export const bytes = (value: number): string => `${compact(value)}${value < 999.5 ? ' ' : ''}B`;

export const milliseconds = (value: number): string =>
  value < 1000 ? `${value.toFixed(value < 10 ? 1 : 0)} ms` : `${(value / 1000).toFixed(1)} s`;

/** A time to wait, rounded up: "12 s", "3 min". */
export const wait = (seconds: number): string =>
  seconds < 100 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;

export const counted = (value: number, what: string): string => `${value} ${what}${value === 1 ? '' : 's'}`;

const barWidth = 24;
const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A share from 0 to 1 as a bar, to an eighth of a character. */
export function bar(share: number): string {
  const filled = Math.round(share * barWidth * 8);
  return '█'.repeat(Math.floor(filled / 8)) + eighths[filled % 8]!;
}

/** A bar on a track of its full width. */
export const progressBar = (share: number): string => bar(share).padEnd(barWidth, '░');

/** What each task's score is called. */
export const scoreNames = { classify: 'accuracy', segment: 'mean IoU', detect: 'mAP50' } as const;

export const by = (sides: readonly number[]): string => sides.join('x');

/**
 * Cells in aligned columns, two spaces apart: the first `left` columns left-aligned, the others
 * right-aligned.
 */
export function table(rows: readonly (readonly string[])[], left = 1): string[] {
  const widths = rows.reduce<number[]>(
    (all, row) => row.map((cell, column) => Math.max(all[column] ?? 0, cell.length)),
    [],
  );
  return rows.map((row) =>
    row
      .map((cell, column) => (column < left ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}
