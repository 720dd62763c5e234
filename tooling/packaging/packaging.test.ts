import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { checkPackage, createPackageFromTarballData, type Problem } from '@arethetypeswrong/core';
import { publint } from 'publint';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import budgets from './budgets.json' with { type: 'json' };
import { filesBelow, packages, readManifest, root, type Manifest } from './packages.ts';

/** An empty project of somebody else, far from this workspace. */
const consumer = mkdtempSync(join(tmpdir(), 'pvt-packaging-'));
const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  packageManager: string;
};

/** What a command prints; throws with it if the command fails. */
function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`);
  return stdout;
}

const tarball = ({ name, version }: Manifest) =>
  join(consumer, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);

beforeAll(() => {
  const filters = packages.flatMap(({ manifest }) => ['--filter', manifest.name]);
  run(
    'npx',
    ['--yes', packageManager, '--recursive', ...filters, 'pack', '--pack-destination', consumer],
    root,
  );
  const peers = packages.flatMap(({ manifest }) => Object.entries(manifest.peerDependencies ?? {}));
  const dependencies = {
    ...Object.fromEntries(packages.map(({ manifest }) => [manifest.name, `file:${tarball(manifest)}`])),
    ...Object.fromEntries(peers),
    '@tensorflow/tfjs-backend-cpu': '^4.22.0',
    '@tensorflow/tfjs-backend-wasm': '^4.22.0',
  };
  writeFileSync(
    join(consumer, 'package.json'),
    JSON.stringify({ private: true, type: 'module', dependencies }),
  );
  run('npm', ['install', '--prefix', consumer, '--no-audit', '--no-fund'], consumer);
});

afterAll(() => rmSync(consumer, { recursive: true, force: true }));

/** The entries of a package that are code. */
const entriesOf = ({ exports = {} }: Manifest) =>
  Object.keys(exports).filter((entry) => !/\.json$|\*/.test(entry));

it('ships declarations that compile', () => {
  const names = packages.flatMap(({ manifest }) =>
    entriesOf(manifest).map((entry) => manifest.name + entry.slice(1)),
  );
  const file = join(consumer, 'index.mts');
  writeFileSync(file, names.map((name, i) => `export * as entry${i} from '${name}';`).join('\n'));
  const program = ts.createProgram([file], {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'],
    strict: true,
    noEmit: true,
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
  });
  const own = program.getSourceFiles().filter(({ fileName }) => /index\.mts$|\/@pvt\//.test(fileName));
  const problems = own.flatMap((source) => [...program.getSemanticDiagnostics(source)]);
  const messages = problems.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
  expect(own.length).toBeGreaterThan(names.length);
  expect(messages).toEqual([]);
});

describe.each(packages)('$manifest.name', ({ manifest }) => {
  const installed = join(consumer, 'node_modules', manifest.name);

  it('follows the rules of the registry (publint)', async () => {
    const { buffer } = Uint8Array.from(readFileSync(tarball(manifest)));
    const { messages } = await publint({ pack: { tarball: buffer }, strict: true });
    expect(messages).toEqual([]);
  });

  if (manifest.exports?.['.']) {
    it('gives types that resolve as its code does (attw)', async () => {
      const analysis = await checkPackage(createPackageFromTarballData(readFileSync(tarball(manifest))));
      expect(analysis.types).toMatchObject({ kind: 'included' });
      const problems = 'problems' in analysis ? analysis.problems : [];
      const ofOthers = (problem: Problem) =>
        'resolutionKind' in problem && ['node10', 'node16-cjs'].includes(problem.resolutionKind);
      // Packages are ES modules only.
      expect(problems.filter((problem) => !ofOthers(problem))).toEqual([]);
    });
  }

  it('holds what is meant for users, its licence and its readme, and no tests', () => {
    const files = filesBelow(installed);
    expect(files).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'package.json']));
    const shipped = [...manifest.files, 'LICENSE', 'README.md', 'CHANGELOG.md', 'package.json'];
    const others = files.filter(
      (file) => !shipped.some((path) => file === path || file.startsWith(`${path}/`)),
    );
    const tests = files.filter((file) => /\.test\.|fixtures\//.test(file));
    expect([...others, ...tests]).toEqual([]);
  });

  it('depends on published versions', () => {
    const { dependencies = {}, peerDependencies = {} } = readManifest(installed);
    const ranges = [...Object.values(dependencies), ...Object.values(peerDependencies)];
    expect(ranges.filter((range) => !/^[\^~]?\d/.test(range))).toEqual([]);
  });

  it.each(entriesOf(manifest))('imports %s in Node', (entry) => {
    const name = manifest.name + entry.slice(1);
    const script = `console.log(Object.keys(await import('${name}')).length)`;
    expect(
      Number(run(process.execPath, ['--input-type=module', '--eval', script], consumer)),
    ).toBeGreaterThan(0);
  });

  it.each(Object.keys(manifest.bin ?? {}))('answers %s --help', (name) => {
    expect(run(join(consumer, 'node_modules/.bin', name), ['--help'], consumer)).toContain(name);
  });

  it('stays within its size budget', () => {
    const budget = (budgets as Record<string, number>)[manifest.name];
    if (budget === undefined)
      throw new Error(`${manifest.name} has no size budget: add one to budgets.json.`);
    const sizes = filesBelow(installed)
      .filter((file) => !/\.d\.ts$|\.md$|^LICENSE$|^package\.json$/.test(file))
      .map((file) => gzipSync(readFileSync(join(installed, file)), { level: 9 }).length);
    const size = sizes.reduce((sum, bytes) => sum + bytes, 0);
    expect(size, 'bytes of code and data, gzipped').toBeLessThanOrEqual(budget);
  });
});
