import { registerWasmKernels, unregisterWasmKernels } from '@pvt/adapter-wasm';
import { useBackend } from '@pvt/testing';
import { afterAll, beforeAll } from 'vitest';
import { goldens, goldenSuite, gradientSuite } from './suite.ts';

// With the kernels of @pvt/adapter-wasm in place, on the browser's engine.
beforeAll(async () => {
  await useBackend('wasm');
  await registerWasmKernels();
});
afterAll(unregisterWasmKernels);

goldenSuite('wasm', goldens('custom'));
gradientSuite('wasm');
