import { defineConfig } from 'tsdown';

export default defineConfig({
  entry: { index: 'src/index.ts', node: 'src/node.ts', learning: 'src/learning/index.ts' },
  platform: 'neutral',
  deps: { neverBundle: [/^node:/] },
  fixedExtension: false,
  dts: true,
});
