import { defineConfig } from 'tsdown';

export default defineConfig({
  entry: ['src/index.ts'],
  platform: 'neutral',
  fixedExtension: false,
  dts: true,
  // The declarations have the documentation.
  outputOptions: { comments: { jsdoc: false } },
});
