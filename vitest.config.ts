import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig, type TestProjectConfiguration } from 'vitest/config';
import { findChromium } from './tooling/chromium.mjs';

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

interface Manifest {
  readonly name: string;
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
}

/** The source that tsdown builds an entry from: `dist/node.js` is `src/node.ts` or `src/node/index.ts`. */
function sourceOf(folder: string, built: string): string | undefined {
  const [, entry] = /^\.\/dist\/(.+)\.js$/.exec(built) ?? [];
  if (entry === undefined) return undefined;
  return [`${folder}/src/${entry}.ts`, `${folder}/src/${entry}/index.ts`].map(source).find(existsSync);
}

/** Every entry of a package, as its manifest's `exports` has it for the platform, on its source. */
function entriesOf(folder: string, platform: 'node' | 'browser') {
  const manifest = JSON.parse(readFileSync(source(`${folder}/package.json`), 'utf8')) as Manifest;
  return Object.entries(manifest.exports ?? {}).flatMap(([subpath, target]) => {
    if (typeof target === 'string') return [];
    const built = (platform === 'node' ? target['node'] : target['browser']) ?? target['default'];
    const replacement = built && sourceOf(folder, built);
    const name = `${manifest.name}${subpath.slice(1)}`;
    return replacement ? [{ find: new RegExp(`^${name}$`), replacement }] : [];
  });
}

const packageFolders = ['packages', 'packages/adapters']
  .flatMap((parent) => readdirSync(source(parent)).map((name) => `${parent}/${name}`))
  .filter((folder) => existsSync(source(`${folder}/package.json`)));

/** Tests run on the sources; what is built and packed is tested in tooling/packaging. */
const sources = (platform: 'node' | 'browser') => ({
  alias: [
    ...packageFolders.flatMap((folder) => entriesOf(folder, platform)),
    { find: '@pvt/testing', replacement: source('tooling/testing/index.ts') },
  ],
});

const wasmManifest = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json');
const wasmPath = `${dirname(wasmManifest)}/dist/`;

const node: TestProjectConfiguration = {
  extends: true,
  resolve: sources('node'),
  test: {
    name: 'node',
    environment: 'node',
    include: ['{packages,apps,tooling}/**/*.test.ts'],
    exclude: [
      '**/node_modules/**',
      '**/dist/**',
      '**/*.browser.test.ts',
      'tooling/packaging/**',
      'apps/web/e2e/**',
      ...(process.env['PVT_TEST_EXCLUDE']?.split(':') ?? []),
    ],
    provide: { wasmPath },
    // The golden models on the cpu backend take seconds each, and minutes when both cores are busy.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
};

/** The built page in a whole browser, one file after the other: each drives Chromium on all cores. */
const demo: TestProjectConfiguration = {
  extends: true,
  resolve: sources('node'),
  test: {
    name: 'demo',
    environment: 'node',
    include: ['apps/web/e2e/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 120_000,
  },
};

const packaging: TestProjectConfiguration = {
  extends: true,
  resolve: sources('node'),
  test: {
    name: 'packaging',
    environment: 'node',
    include: ['tooling/packaging/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 300_000,
  },
};

/** Tests that run in a page as it is, and again in one that may share memory with its workers. */
const alsoIsolated = ['packages/adapters/wasm/src/runner/runner.browser.test.ts'];

const browser = (executablePath: string, isolated = false): TestProjectConfiguration => ({
  extends: true,
  resolve: sources('browser'),
  ...(isolated && {
    server: {
      headers: {
        'Cross-Origin-Opener-Policy': 'same-origin',
        'Cross-Origin-Embedder-Policy': 'require-corp',
      },
    },
  }),
  optimizeDeps: {
    include: ['core', 'backend-cpu', 'backend-wasm', 'backend-webgl', 'backend-webgpu'].map(
      (name) => `@pvt/testing > @tensorflow/tfjs-${name}`,
    ),
  },
  test: {
    name: isolated ? 'isolated' : 'browser',
    include: isolated ? alsoIsolated : ['{packages,apps,tooling}/**/*.browser.test.ts'],
    provide: { wasmPath: `/@fs${wasmPath}` },
    // Without a GPU, WebGPU on SwiftShader takes ten seconds for its first pass alone.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      instances: [{ browser: 'chromium' }],
      provider: playwright({
        launchOptions: {
          executablePath,
          args: [
            '--enable-unsafe-webgpu',
            '--use-webgpu-adapter=swiftshader',
            '--enable-features=Vulkan',
            '--disable-quic',
            '--no-first-run',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
          ],
        },
      }),
    },
  },
});

const chromium = findChromium();

export default defineConfig({
  test: {
    maxWorkers: '100%',
    // The cpu backend advertises a native one, once in every test file.
    onConsoleLog: (log) => !log.includes('install our node backend'),
    projects: [node, packaging, ...(chromium ? [browser(chromium), browser(chromium, true), demo] : [])],
  },
});
