import { BackendError } from '@pvt/core';
import * as tf from '@tensorflow/tfjs-core';
import plainBinary from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url';
import simdBinary from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url';
import type { BackendName } from '../protocol.ts';

/** Bytes of unused textures that webgl keeps for reuse. tfjs sets no limit by default. */
const spareTextureBytes = 256 * 2 ** 20;

const importBackend: Record<BackendName, () => Promise<unknown>> = {
  cpu: () => import('@tensorflow/tfjs-backend-cpu'),
  async wasm() {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
    // Our own kernels can reach the heap of the single-threaded build only.
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
    setWasmPaths({
      'tfjs-backend-wasm.wasm': plainBinary,
      'tfjs-backend-wasm-simd.wasm': simdBinary,
      // Required, but never fetched.
      'tfjs-backend-wasm-threaded-simd.wasm': simdBinary,
    });
  },
  async webgl() {
    await import('@tensorflow/tfjs-backend-webgl');
    tf.env().set('WEBGL_DELETE_TEXTURE_THRESHOLD', spareTextureBytes);
  },
  async webgpu() {
    if (!('gpu' in navigator)) throw missingBackend('webgpu', 'a browser without WebGPU');
    const gpu = navigator.gpu as { requestAdapter(): Promise<object | null> };
    if ((await gpu.requestAdapter()) === null) throw missingBackend('webgpu', 'WebGPU without an adapter');
    await import('@tensorflow/tfjs-backend-webgpu');
  },
};

const missingBackend = (name: BackendName, got: string) =>
  new BackendError(
    'backend-missing',
    `${name}: expected a browser and a device that support it, got ${got}; choose another backend.`,
  );

/** Members of tfjs's backends that it does not export. */
interface BackendInternals {
  readonly gpgpu?: { readonly gl: WebGL2RenderingContext };
  readonly device?: { readonly lost: Promise<{ readonly message: string; readonly reason: string }> };
  checkCompileCompletionAsync?(): Promise<unknown>;
  getUniformLocations?(): void;
}
// tfjs types every backend as KernelBackend, which has none of these members.
const internals = (): BackendInternals => tf.backend() as unknown as BackendInternals;

/**
 * Starts a backend as the worker's only one and calls `onLost` if its device is lost.
 *
 * @throws BackendError `backend-missing` if it does not start on this device
 */
export async function startBackend(name: BackendName, onLost: () => void): Promise<void> {
  tf.enableProdMode();
  await importBackend[name]();
  if (tf.engine().registryFactory[name] === undefined || !(await tf.setBackend(name)))
    throw missingBackend(name, 'a backend that does not start');
  if (name === 'wasm') await registerOwnKernels();
  const { gpgpu, device } = internals();
  gpgpu?.gl.canvas.addEventListener('webglcontextlost', onLost);
  void device?.lost.then(({ reason }) => reason !== 'destroyed' && onLost());
}

/** Registers this project's wasm kernels. Without SIMD, tfjs's own kernels are used. */
async function registerOwnKernels(): Promise<void> {
  const { registerWasmKernels } = await import('@pvt/adapter-wasm');
  try {
    await registerWasmKernels();
  } catch (error) {
    if (!(error instanceof BackendError && error.code === 'wasm-simd-missing')) throw error;
  }
}

/** Whether the graphics context is lost. Results are then zeros, without an error. */
export const contextLost = (): boolean =>
  tf.getBackend() === 'webgl' && (internals().gpgpu?.gl.isContextLost() ?? false);

/**
 * Compiles all shaders of a forward pass before the first of them runs, in parallel if the driver can. Does
 * nothing on backends without shaders.
 */
export async function compileShaders(forward: () => Promise<unknown> | unknown): Promise<void> {
  const flag = { webgl: 'ENGINE_COMPILE_ONLY', webgpu: 'WEBGPU_ENGINE_COMPILE_ONLY' }[tf.getBackend()];
  if (flag === undefined) return;
  tf.env().set(flag, true);
  try {
    await forward();
    await internals().checkCompileCompletionAsync?.();
    internals().getUniformLocations?.();
  } finally {
    tf.env().set(flag, false);
  }
}
