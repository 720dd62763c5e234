import { defineConfig } from 'vite';

export default defineConfig({
  // Relative addresses: the built page works in any folder of any static host.
  base: './',
  worker: {
    format: 'es',
    // A backend's chunk is called by the backend.
    rolldownOptions: {
      output: {
        chunkFileNames: ({ facadeModuleId }) =>
          `assets/${/tfjs-backend-(\w+)/.exec(facadeModuleId ?? '')?.[1] ?? '[name]'}-[hash].js`,
      },
    },
  },
  build: {
    target: 'es2022',
    manifest: true,
    // The models' own chunks are large and known to be; scripts/sizes.mjs lists them and guards the shell.
    chunkSizeWarningLimit: 2000,
  },
});
