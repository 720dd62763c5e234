/** Lists what the build consists of, gzipped, and fails where the shell outgrows its budget. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
/** Bytes, gzipped, of the page, its style and its first script. */
export const shellBudget = 60_000;

const gzipped = (/** @type {string} */ file) => gzipSync(readFileSync(join(dist, file)), { level: 9 }).length;

/** Files that the page needs for its first paint: the document and what it names. */
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
  for (const [file, size] of sizes) console.log(`${(size / 1000).toFixed(1).padStart(9)} kB gzip  ${file}`);
  const shell = shellSize();
  console.log(`${(shell / 1000).toFixed(1).padStart(9)} kB gzip  the shell, of ${shellBudget / 1000} kB`);
  if (shell > shellBudget) {
    console.error('The shell has outgrown its budget: load what it does not need for the first paint later.');
    process.exitCode = 1;
  }
}
