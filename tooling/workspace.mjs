import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './steps.mjs';

/** Absolute folders of every package in the workspace, private ones included. */
export const folders = ['packages', 'packages/adapters', 'apps', 'tooling']
  .flatMap((parent) => readdirSync(join(root, parent)).map((name) => join(root, parent, name)))
  .filter((folder) => existsSync(join(folder, 'package.json')));

/** @param {string} folder */
export const manifestOf = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));

/**
 * The path that an entry of `exports` has under a condition.
 *
 * @param {unknown} target
 * @param {string} condition
 * @returns {string | undefined}
 */
function resolveCondition(target, condition) {
  if (typeof target === 'string') return target;
  for (const [name, nested] of Object.entries(target ?? {}))
    if (name === condition || name === 'default') return resolveCondition(nested, condition);
  return undefined;
}

/**
 * The sources of every entry of every package, by the name that others import it with.
 *
 * @returns {Record<string, string>}
 */
export function sourceEntries() {
  /** @type {Record<string, string>} */
  const entries = {};
  for (const folder of folders) {
    const { name, exports = {} } = manifestOf(folder);
    for (const [subpath, target] of Object.entries(exports)) {
      const path = resolveCondition(target, 'types');
      const stem = path?.replace(/^\.\/dist\//, 'src/').replace(/(\.d)?\.ts$/, '');
      const source = [`${stem}.ts`, `${stem}/index.ts`].map((file) => join(folder, file)).find(existsSync);
      if (source) entries[name + subpath.slice(1)] = source;
    }
  }
  return entries;
}
