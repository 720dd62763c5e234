import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly keywords?: readonly string[];
  readonly repository?: Readonly<Record<string, string>>;
  readonly homepage?: string;
  readonly bugs?: { readonly url: string };
  readonly files: readonly string[];
  readonly bin?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

export interface Package {
  readonly folder: string;
  readonly manifest: Manifest;
}

export const root = fileURLToPath(new URL('../..', import.meta.url));

export const readManifest = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

/** Files below `folder`, installed packages left out, as paths relative to it. */
export const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((file) => !file.startsWith('node_modules'));

/** Every package that is published and has sources. */
export const packages: readonly Package[] = ['packages', 'packages/adapters', 'apps']
  .flatMap((parent) => readdirSync(join(root, parent)).map((name) => join(root, parent, name)))
  .filter((folder) => existsSync(join(folder, 'package.json')))
  .map((folder) => ({ folder, manifest: readManifest(folder) }))
  .filter(({ folder, manifest }) => {
    const sources = join(folder, 'src');
    return !manifest.private && existsSync(sources) && filesBelow(sources).length > 0;
  });

/** The source in `src/` that an entry is built from, for a platform that is not Node. */
export function sourceOf(folder: string, { name, exports }: Manifest, entry: string): string {
  let target = exports?.[entry];
  while (typeof target === 'object' && target !== null) target = (target as { default?: unknown }).default;
  const stem = String(target).replace(/^\.\/dist\/|\.js$/g, '');
  const source = [`${stem}.ts`, `${stem}/index.ts`].find((file) => existsSync(join(folder, 'src', file)));
  if (source === undefined)
    throw new Error(`packaging: expected a source of ${name}${entry.slice(1)}, got none for ${target}.`);
  return source;
}
