import { registerWasmKernels, unregisterWasmKernels } from '@pvt/adapter-wasm';
import { useBackend } from '@pvt/testing';
import { afterAll, beforeAll } from 'vitest';
import { headGoldens, headSuite } from './headSuite.ts';
import { goldens, goldenSuite, gradientSuite } from './suite.ts';

// The same reference numbers with the kernels of @pvt/adapter-wasm in place.
beforeAll(async () => {
  await useBackend('wasm');
  await registerWasmKernels();
});
afterAll(unregisterWasmKernels);

goldenSuite('wasm', goldens());
// Sums in another order, and GELU to 1e-6, may exchange detections whose scores are as close as that.
headSuite('wasm', headGoldens(), 1e-6);
gradientSuite('wasm');
