import { defineConfig } from 'tsdown';

export default defineConfig({ entry: ['src/pvt.ts'], platform: 'node', fixedExtension: false, dts: false });
