import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { filesBelow, packages } from './packages.ts';

const libraries = ['@pvt/core', '@pvt/presets', '@pvt/heads', '@pvt/checkpoints'];

/** Who may know whom, @pvt/core aside, which everybody may know; apps may know all. */
const allowed = (name: string): readonly string[] => {
  if (name === '@pvt/core') return [];
  if (libraries.includes(name) || name.startsWith('@pvt/adapter-')) return ['@pvt/core'];
  return [...libraries, ...packages.map(({ manifest }) => manifest.name)];
};

const packageOf = (specifier: string) =>
  specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');

/** The sources of a package without their tests, which may know more, and without whole-line comments. */
const sourceFiles = (folder: string) =>
  filesBelow(join(folder, 'src'))
    .filter((file) => file.endsWith('.ts') && !/\.test\.ts$|fixtures\//.test(file))
    .map((file) => ({
      file,
      code: readFileSync(join(folder, 'src', file), 'utf8').replace(/^\s*(\*|\/\/|\/\*).*$/gm, ''),
    }));

/** What a package imports from outside of itself, and which of its files does. */
const imports = (folder: string) =>
  sourceFiles(folder).flatMap(({ file, code }) =>
    [...code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"]+)['"]/g)]
      .map(([, specifier = '']) => ({ file, specifier, of: packageOf(specifier) }))
      .filter(({ specifier }) => !specifier.startsWith('.')),
  );

describe.each(packages)('$manifest.name', ({ folder, manifest }) => {
  const outside = imports(folder);

  it('knows only the @pvt packages that it may know', () => {
    const known = allowed(manifest.name);
    expect(outside.filter(({ of }) => of.startsWith('@pvt/') && !known.includes(of))).toEqual([]);
  });

  it('declares what it imports', () => {
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
    expect(outside.filter(({ specifier, of }) => !specifier.startsWith('node:') && !declared.includes(of))).toEqual([]);
  });

  if (['@pvt/core', '@pvt/presets', '@pvt/heads'].includes(manifest.name)) {
    it('runs on any platform', () => {
      expect(outside.filter(({ specifier }) => specifier.startsWith('node:'))).toEqual([]);
    });
  }

  if (manifest.name === '@pvt/core') {
    it('needs tfjs-core alone', () => {
      expect(outside.filter(({ specifier }) => specifier !== '@tensorflow/tfjs-core')).toEqual([]);
    });

    it('touches no backend, file, network or document', () => {
      const platform = /\b(document|window|navigator|fetch|process|Buffer|localStorage|setBackend)\b\s*[.(]/;
      expect(sourceFiles(folder).filter(({ code }) => platform.test(code))).toEqual([]);
    });
  }
});
