import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '@pvt/core';
import { kernelsBinary } from './binary.ts';
import { gradientKernels, gradients } from './gradients.ts';
import { heapOf, type BackendHeap } from './heap.ts';
import { forwardKernels, tryKernels } from './kernels.ts';
import { compileBinary } from './module.ts';

export { weightForms, type WeightForm } from './packer.ts';
export { createRunner, type Runner, type RunnerOptions } from './runner.ts';

const kernels = { ...forwardKernels, ...gradientKernels };

let current: BackendHeap | undefined;

/**
 * Registers SIMD kernels for the layers of `@pvt/core` with tfjs's wasm backend. From then on every forward and backward
 * on that backend uses them; without the call everything runs as before.
 *
 * @throws BackendError where the wasm backend has not been started, its memory is out of reach (tfjs's threaded build) or
 * the engine has no SIMD; the layers then go on without the kernels
 * @example
 * await tf.setBackend('wasm');
 * await registerWasmKernels();
 */
export async function registerWasmKernels(): Promise<void> {
  await tf.ready();
  const backend = tf.findBackend('wasm');
  if (backend === null) {
    throw new BackendError(
      'wasm-backend-missing',
      `registerWasmKernels: expected a started wasm backend, got ${tf.getBackend() || 'none'}; await tf.setBackend('wasm') first.`,
    );
  }
  if (current?.backend === backend) return;
  const module = await compileBinary(kernelsBinary, 'registerWasmKernels');
  const heap = heapOf(backend, module);
  unregisterWasmKernels();
  current = heap;
  for (const [kernelName, kernel] of Object.entries(kernels)) {
    tf.registerKernel({
      kernelName,
      backendName: 'wasm',
      kernelFunc: ({ inputs, attrs, backend }) => {
        if (backend !== heap.backend)
          throw new BackendError(
            'wasm-backend-changed',
            `${kernelName}: expected the wasm backend that the kernels were registered with, got another one; call registerWasmKernels() again.`,
          );
        return kernel(heap, inputs, (attrs ?? {}) as Readonly<Record<string, unknown>>);
      },
    });
  }
  for (const gradient of gradients) tf.registerGradient(gradient);
  tryKernels(heap);
}

/**
 * Takes the kernels back and frees what they keep in the backend's memory; layers run as before.
 *
 * @example
 * unregisterWasmKernels();
 */
export function unregisterWasmKernels(): void {
  if (current === undefined) return;
  for (const kernelName of Object.keys(kernels)) tf.unregisterKernel(kernelName, 'wasm');
  for (const { kernelName } of gradients) tf.unregisterGradient(kernelName);
  if (tf.findBackend('wasm') === current.backend) current.free();
  current = undefined;
}
