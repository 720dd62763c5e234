import { defineConfig } from 'vite';

const backendOf = (moduleId: string | null) => /tfjs-backend-(\w+)/.exec(moduleId ?? '')?.[1];

export default defineConfig({
  // With relative URLs the built page works in any folder of any static host.
  base: './',
  worker: {
    format: 'es',
    // Names the chunk of each tfjs backend after the backend.
    rolldownOptions: {
      output: {
        chunkFileNames: ({ facadeModuleId }) => `assets/${backendOf(facadeModuleId) ?? '[name]'}-[hash].js`,
      },
    },
  },
  build: {
    target: 'es2022',
    manifest: true,
    // The workers' chunks are large on purpose. scripts/sizes.mjs lists all sizes and checks the shell's.
    chunkSizeWarningLimit: 2000,
  },
});
