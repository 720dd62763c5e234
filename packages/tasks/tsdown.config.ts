import { defineConfig } from 'tsdown';

export default defineConfig({
  entry: ['src/index.ts'],
  platform: 'neutral',
  deps: { neverBundle: [/^node:/] },
  fixedExtension: false,
  dts: true,
});
