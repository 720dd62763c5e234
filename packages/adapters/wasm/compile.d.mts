/**
 * The files that are generated from `assembly/`, `calls.mjs` and `src/runner/worker.js`, by their paths in
 * the package.
 */
export function generate(): Promise<Readonly<Record<string, string>>>;
