import { registerWasmKernels, unregisterWasmKernels } from '@pvt/adapter-wasm';
import { useBackend } from '@pvt/testing';
import { afterAll, beforeAll } from 'vitest';
import { headGoldens, headSuite } from './headSuite.ts';
import { goldens, goldenSuite, gradientSuite } from './suite.ts';

// The same reference numbers, computed with the kernels of @pvt/adapter-wasm.
beforeAll(async () => {
  await useBackend('wasm');
  await registerWasmKernels();
});
afterAll(unregisterWasmKernels);

goldenSuite('wasm', goldens());
// Another order of summation, and GELU's error of 1e-6, may swap detections whose scores are that close.
headSuite('wasm', headGoldens(), 1e-6);
gradientSuite('wasm');
