import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig, type TestProjectConfiguration } from 'vitest/config';
import { findChromium } from './tooling/chromium.mjs';

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Tests run on the sources; what is built and packed is tested in tooling/packaging. */
const alias = {
  '@pvt/adapter-image/node': source('packages/adapters/image/src/node.ts'),
  '@pvt/adapter-image': source('packages/adapters/image/src/index.ts'),
  '@pvt/adapter-wasm': source('packages/adapters/wasm/src/index.ts'),
  '@pvt/data/node': source('packages/data/src/node.ts'),
  '@pvt/presets/node': source('packages/presets/src/node.ts'),
  '@pvt/tasks/learning': source('packages/tasks/src/learning/index.ts'),
  '@pvt/tasks/node': source('packages/tasks/src/node.ts'),
  '@pvt/testing': source('tooling/testing/index.ts'),
  ...Object.fromEntries(
    readdirSync(source('packages'))
      .filter((name) => name !== 'adapters')
      .map((name) => [`@pvt/${name}`, source(`packages/${name}/src/index.ts`)]),
  ),
};

const wasmManifest = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json');
const wasmPath = `${dirname(wasmManifest)}/dist/`;

const node: TestProjectConfiguration = {
  extends: true,
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
  test: {
    name: 'packaging',
    environment: 'node',
    include: ['tooling/packaging/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 300_000,
  },
};

/** Tests that run in a page as it is, and again in one that may share memory with its workers. */
const alsoIsolated = ['packages/adapters/wasm/src/runner.browser.test.ts'];

const browser = (executablePath: string, isolated = false): TestProjectConfiguration => ({
  extends: true,
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
  resolve: { alias },
  test: {
    maxWorkers: '100%',
    // The cpu backend advertises a native one, once in every test file.
    onConsoleLog: (log) => !log.includes('install our node backend'),
    projects: [node, packaging, ...(chromium ? [browser(chromium), browser(chromium, true), demo] : [])],
  },
});
