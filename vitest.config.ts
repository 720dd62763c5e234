import { readdirSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

const source = (path: string) => new URL(path, import.meta.url).pathname;

/** Tests run on the sources; what is built and packed is tested in tooling/packaging. */
const alias = {
  '@pvt/adapter-image/node': source('packages/adapters/image/src/node.ts'),
  '@pvt/adapter-image': source('packages/adapters/image/src/index.ts'),
  ...Object.fromEntries(
    readdirSync(source('packages'))
      .filter((name) => name !== 'adapters')
      .map((name) => [`@pvt/${name}`, source(`packages/${name}/src/index.ts`)]),
  ),
};

export default defineConfig({
  resolve: { alias },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: 'node',
          environment: 'node',
          include: ['{packages,apps,tooling}/**/*.test.ts'],
          exclude: ['**/node_modules/**', '**/dist/**', '**/*.browser.test.ts'],
        },
      },
    ],
  },
});
