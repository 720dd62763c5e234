import { defineConfig } from 'tsdown';

export default defineConfig({
  entry: ['src/index.ts', 'src/runner/index.ts', 'src/runner/index.node.ts'],
  platform: 'neutral',
  fixedExtension: false,
  dts: true,
  // Types carry the documentation; pages load the code.
  outputOptions: { comments: { jsdoc: false } },
});
