/**
 * Builds packages after what they depend on, in one process, because starting TypeScript costs more than most
 * packages do: `node tooling/build.mjs [package ...]`. A package whose inputs have not changed since its last
 * build is left alone.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'tsdown';
import { duration, root } from './steps.mjs';
import { folders, manifestOf } from './workspace.mjs';

const cache = join(root, 'node_modules/.cache/pvt-build');
mkdirSync(cache, { recursive: true });

const packages = new Map(
  folders.map((folder) => {
    const manifest = manifestOf(folder);
    return [manifest.name, { folder, manifest }];
  }),
);

/** @param {string} name */
const dependenciesOf = (name) => {
  const { dependencies, devDependencies } = packages.get(name)?.manifest ?? {};
  return Object.keys({ ...dependencies, ...devDependencies }).filter((other) => packages.has(other));
};

/**
 * What is asked for and all that it needs, dependencies first.
 *
 * @param {Iterable<string>} names
 * @param {Set<string>} [ordered]
 */
function inOrder(names, ordered = new Set()) {
  for (const name of names) {
    if (ordered.has(name)) continue;
    inOrder(dependenciesOf(name), ordered);
    ordered.add(name);
  }
  return ordered;
}

const outputs = new Set(['dist', 'node_modules']);

/**
 * @param {string} path
 * @returns {string[]}
 */
function filesBelow(path) {
  if (statSync(path).isFile()) return [path];
  return readdirSync(path)
    .filter((entry) => !outputs.has(entry) && !entry.endsWith('.test.ts'))
    .flatMap((entry) => filesBelow(join(path, entry)));
}

/** @type {Map<string, string>} */
const digests = new Map();

/** A digest of everything that a package is built from. */
function digestOf(/** @type {string} */ name) {
  const known = digests.get(name);
  if (known !== undefined) return known;
  const { folder } = /** @type {{ folder: string }} */ (packages.get(name));
  const hash = createHash('sha256');
  for (const path of ['pnpm-lock.yaml', 'tsconfig.base.json', 'tooling/build.mjs'])
    hash.update(readFileSync(join(root, path)));
  for (const other of dependenciesOf(name)) hash.update(digestOf(other));
  for (const path of filesBelow(folder)) hash.update(`\0${path}\0`).update(readFileSync(path));
  digests.set(name, hash.digest('hex'));
  return digestOf(name);
}

/**
 * @param {string} folder
 * @param {{ name: string }} manifest
 */
async function buildPackage(folder, { name }) {
  if (existsSync(join(folder, 'tsdown.config.ts'))) {
    await build({ cwd: folder, logLevel: 'error' });
    return;
  }
  const { status } = spawnSync('npm', ['run', 'build', '--silent'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
  });
  if (status !== 0) throw new Error(`build: expected ${name} to build, got exit status ${status}.`);
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !packages.has(name));
if (unknown.length > 0) {
  const names = [...packages.keys()].join(', ');
  console.error(`build: expected names of packages, got ${unknown.join(', ')}; there are ${names}.`);
  process.exit(2);
}
for (const name of inOrder(asked.length > 0 ? asked : packages.keys())) {
  const { folder, manifest } = packages.get(name) ?? {};
  if (!folder || !manifest.scripts?.build) continue;
  const stamp = join(cache, name.replaceAll('/', '+'));
  const digest = digestOf(name);
  const current = existsSync(stamp) && existsSync(join(folder, 'dist'));
  if (current && readFileSync(stamp, 'utf8') === digest) continue;
  const since = performance.now();
  await buildPackage(folder, manifest);
  writeFileSync(stamp, digest);
  console.log(`${name} ${duration(since)}`);
}
