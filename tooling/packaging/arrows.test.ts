import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { filesBelow, packages } from './packages.ts';

const libraries = [
  '@pvt/core',
  '@pvt/presets',
  '@pvt/heads',
  '@pvt/checkpoints',
  '@pvt/checkpoints-microscopy',
  '@pvt/training',
];

/**
 * Who may know whom, @pvt/core aside, which everybody may know; draw shows what heads answer, tasks join the
 * libraries, and apps may know all.
 */
const allowed = (name: string): readonly string[] => {
  if (name === '@pvt/core') return [];
  if (libraries.includes(name) || name.startsWith('@pvt/adapter-')) return ['@pvt/core'];
  if (name === '@pvt/draw') return ['@pvt/core', '@pvt/heads'];
  if (name === '@pvt/data') return ['@pvt/core', '@pvt/adapter-image'];
  if (name === '@pvt/tasks') return [...libraries, '@pvt/adapter-image', '@pvt/data'];
  return packages.map(({ manifest }) => manifest.name);
};

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

describe.each(packages)('$manifest.name', ({ folder, manifest }) => {
  const outside = imports(folder);

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

  if (!manifest.bin) {
    it('runs on any platform, its Node entry aside', () => {
      const main = reachable(folder, 'index.ts');
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
