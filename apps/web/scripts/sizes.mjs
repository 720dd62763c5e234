/** Lists the gzipped sizes of the built files and fails if the shell is larger than its budget. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
/** Gzipped bytes of the document, its style sheet and its first script. */
export const shellBudget = 60_000;

const gzipped = (/** @type {string} */ file) => gzipSync(readFileSync(join(dist, file)), { level: 9 }).length;

/** Gzipped bytes of what the first paint needs: the document and the files that it names. */
export function shellSize() {
  const html = readFileSync(join(dist, 'index.html'), 'utf8');
  const named = [...html.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map(([, file]) => String(file));
  return ['index.html', ...named].reduce((sum, file) => sum + gzipped(file), 0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.(js|css|html|wasm|safetensors|png)$/.test(file),
  );
  const sizes = files.map((file) => /** @type {const} */ ([file, gzipped(file)])).sort((a, b) => b[1] - a[1]);
  const print = (/** @type {number} */ size, /** @type {string} */ label) =>
    console.log(`${(size / 1000).toFixed(1).padStart(9)} kB gzip  ${label}`);
  for (const [file, size] of sizes) print(size, file);
  const shell = shellSize();
  print(shell, `the shell, of ${shellBudget / 1000} kB`);
  if (shell > shellBudget) {
    console.error('The shell exceeds its budget: import what the first paint does not need dynamically.');
    process.exitCode = 1;
  }
}
