import { defineConfig } from 'tsdown';

export default defineConfig({
  entry: ['src/index.ts', 'src/node.ts', 'src/worker.ts'],
  platform: 'neutral',
  deps: { neverBundle: [/^node:/] },
  fixedExtension: false,
  dts: true,
  // The declarations have the documentation.
  outputOptions: { comments: { jsdoc: false } },
});
