import { readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { filesBelow, packages, root, sourceOf } from './packages.ts';

/** A row of the table "Who may know whom" in CONTRIBUTING.md, whose rule stands behind its arrow. */
interface Row {
  readonly pattern: RegExp;
  readonly knows: readonly string[];
}

function readTable(text: string): Row[] {
  const rows = text.matchAll(/^[ |`]+((?:@pvt|apps)\/[\w-]*\*?)(?=[\s|`]).*?(?:→(.*))?$/gm);
  return Array.from(rows, ([, name, knows = '']) => ({
    pattern: new RegExp(`^${name!.replace('apps/', '@pvt/').replace('*', '.*')}$`),
    knows: knows.split(/[,|]/).map((word) => word.trim()),
  }));
}

const table = readTable(readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8'));

/** The most specific row of a package: that of apps comes last. */
const rowOf = (name: string) => table.find(({ pattern }) => pattern.test(name));

/** What a package may import, by the table. */
function allowed(name: string): readonly string[] {
  const knows = rowOf(name)?.knows ?? [];
  return packages
    .map(({ manifest }) => manifest.name)
    .filter((other) => knows.includes('all') || knows.includes(other.replace('@pvt/', '')));
}

const packageOf = (specifier: string) => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');

/** The sources of a package without their tests and what only serves those, which may know more. */
const sourceFiles = (folder: string) =>
  filesBelow(join(folder, 'src'))
    .filter((file) => file.endsWith('.ts') && !/\.test\.ts$|(^|\/)(fixtures|fuzz|testing)\//.test(file))
    .map((file) => ({ file, code: readFileSync(join(folder, 'src', file), 'utf8') }));

const importsOf = (code: string) => ts.preProcessFile(code).importedFiles.map(({ fileName }) => fileName);

/** What a package imports from outside of itself, and which of its files does. */
const imports = (folder: string) =>
  sourceFiles(folder).flatMap(({ file, code }) =>
    importsOf(code)
      .filter((specifier) => !specifier.startsWith('.'))
      .map((specifier) => ({ file, specifier, of: packageOf(specifier) })),
  );

/** The sources that come along with an entry. */
function reachable(folder: string, entry: string): Set<string> {
  const found = new Set([entry]);
  for (const file of found) {
    const code = readFileSync(join(folder, 'src', file), 'utf8');
    for (const specifier of importsOf(code))
      if (specifier.startsWith('.')) found.add(normalize(join(dirname(file), specifier)));
  }
  return found;
}

it('reads every row of the table in CONTRIBUTING.md', () => {
  const text = ['    @pvt/a    layers → core, b', '    @pvt/c*   weights', '    apps/*    apps   → all'];
  expect(readTable(text.join('\n')).map(({ knows }) => knows)).toEqual([['core', 'b'], [''], ['all']]);
  expect(table.length).toBeGreaterThan(8);
});

describe.each(packages)('$manifest.name', ({ folder, manifest }) => {
  const outside = imports(folder);

  it('has a row in the table of CONTRIBUTING.md', () => {
    expect(rowOf(manifest.name)).not.toBeUndefined();
  });

  it('says in the registry what it is about, where it lives and where to complain', () => {
    expect(manifest.keywords?.length).toBeGreaterThan(0);
    expect(manifest.repository).toMatchObject({ type: 'git', directory: relative(root, folder) });
    expect(manifest.homepage).toMatch(/^https:/);
    expect(manifest.bugs?.url).toMatch(/^https:/);
  });

  it('knows only the @pvt packages that it may know', () => {
    const known = allowed(manifest.name);
    expect(outside.filter(({ of }) => of.startsWith('@pvt/') && !known.includes(of))).toEqual([]);
  });

  it('declares what it imports', () => {
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
    expect(
      outside.filter(({ specifier, of }) => !specifier.startsWith('node:') && !declared.includes(of)),
    ).toEqual([]);
  });

  if (manifest.exports?.['.'] !== undefined) {
    it('runs on any platform, its Node entry aside', () => {
      const main = reachable(folder, sourceOf(folder, manifest, '.'));
      expect(
        outside.filter(({ file, specifier }) => main.has(file) && specifier.startsWith('node:')),
      ).toEqual([]);
    });
  }

  if (manifest.name === '@pvt/core') {
    it('needs tfjs-core alone', () => {
      expect(outside.filter(({ specifier }) => specifier !== '@tensorflow/tfjs-core')).toEqual([]);
    });

    it('touches no backend, file, network or document', () => {
      const platform = /\b(document|window|navigator|fetch|process|Buffer|localStorage|setBackend)\b\s*[.(]/;
      expect(
        sourceFiles(folder).filter(({ code }) => platform.test(code.replace(/^\s*(\*|\/\/|\/\*).*$/gm, ''))),
      ).toEqual([]);
    });
  }
});
