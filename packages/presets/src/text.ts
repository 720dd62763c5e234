/**
 * Shell-style match. It uses no regular expression, so that no pattern is slow: only the last star ever
 * backtracks.
 */
export function matches(name: string, pattern: string): boolean {
  let at = 0;
  let p = 0;
  let star = -1;
  let resume = 0;
  while (at < name.length) {
    if (pattern[p] === '*') {
      star = p++;
      resume = at;
    } else if (pattern[p] === '?' || pattern[p] === name[at]) {
      p++;
      at++;
    } else if (star >= 0) {
      p = star + 1;
      at = ++resume;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

/** The three known names that are most like an unknown one. */
export const nearest = (name: string, known: readonly string[]): string[] =>
  known
    .map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ candidate }) => candidate);

/** Levenshtein distance of two short texts; of the first, 64 characters count. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= Math.min(a.length, 64); i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The first few items for a message, at most `limit` characters of them, and how many more there are. */
export function firstOf(items: readonly string[], count: number, limit = Infinity): string {
  const first = items.slice(0, count).join(', ').slice(0, limit);
  return items.length > count ? `${first} and ${items.length - count} more` : first;
}
