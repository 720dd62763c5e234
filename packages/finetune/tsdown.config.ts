import { defineConfig } from 'tsdown';

export default defineConfig({
  entry: ['src/index.ts', 'src/folder.ts'],
  platform: 'neutral',
  deps: { neverBundle: [/^node:/] },
  fixedExtension: false,
  dts: true,
});
