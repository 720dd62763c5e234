import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '@pvt/core';
import { kernelsBinary } from './generated/kernelsBinary.ts';
import { forwardKernels, warmUpKernels } from './kernels/forward.ts';
import { gradientKernels, gradients } from './kernels/gradients.ts';
import { Heap } from './kernels/heap.ts';
import { compileBinary } from './module.ts';

const kernels = { ...forwardKernels, ...gradientKernels };

/** The heap that the registered kernels work on. */
let registered: Heap | undefined;

/**
 * Registers SIMD kernels for the layers of `@pvt/core` with tfjs's wasm backend. From then on every forward
 * and backward pass on that backend uses them.
 *
 * @throws BackendError if the wasm backend has not started, its memory is out of reach (tfjs's threaded
 * build) or the engine lacks SIMD; the layers then work without the kernels
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
      `registerWasmKernels: expected a started wasm backend, got ${tf.getBackend() || 'none'}; ` +
        "await tf.setBackend('wasm') first.",
    );
  }
  if (registered?.backend === backend) return;
  const module = await compileBinary(kernelsBinary, 'registerWasmKernels');
  const heap = new Heap(backend, module);
  unregisterWasmKernels();
  registered = heap;
  for (const [kernelName, kernel] of Object.entries(kernels)) {
    tf.registerKernel({
      kernelName,
      backendName: 'wasm',
      kernelFunc: ({ inputs, attrs, backend }) => {
        if (backend !== heap.backend)
          throw new BackendError(
            'wasm-backend-changed',
            `${kernelName}: expected the wasm backend that the kernels were registered with, ` +
              'got another one; call registerWasmKernels() again.',
          );
        return kernel(heap, inputs, attrs ?? {});
      },
    });
  }
  for (const gradient of gradients) tf.registerGradient(gradient);
  warmUpKernels(heap);
}

/**
 * Unregisters the kernels and frees their packed weights; the layers then work without them.
 *
 * @example
 * unregisterWasmKernels();
 */
export function unregisterWasmKernels(): void {
  if (registered === undefined) return;
  for (const kernelName of Object.keys(kernels)) tf.unregisterKernel(kernelName, 'wasm');
  for (const { kernelName } of gradients) tf.unregisterGradient(kernelName);
  if (tf.findBackend('wasm') === registered.backend) registered.free();
  registered = undefined;
}
