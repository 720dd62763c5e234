import { BackendError } from '@pvt/core';
import * as tf from '@tensorflow/tfjs-core';
import plainBinary from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url';
import simdBinary from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url';
import type { BackendName } from '../protocol.ts';

/** Bytes of textures that no tensor uses and that are kept for the next one; without a bound they are kept for ever. */
const spareTextureBytes = 256 * 2 ** 20;

const register: Record<BackendName, () => Promise<unknown>> = {
  cpu: () => import('@tensorflow/tfjs-backend-cpu'),
  async wasm() {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
    // Our own kernels reach the heap of the build without threads alone.
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
    // A place for the build with threads has to be named, though it is never fetched.
    setWasmPaths({
      'tfjs-backend-wasm.wasm': plainBinary,
      'tfjs-backend-wasm-simd.wasm': simdBinary,
      'tfjs-backend-wasm-threaded-simd.wasm': simdBinary,
    });
  },
  async webgl() {
    await import('@tensorflow/tfjs-backend-webgl');
    tf.env().set('WEBGL_DELETE_TEXTURE_THRESHOLD', spareTextureBytes);
  },
  async webgpu() {
    if (!('gpu' in navigator)) throw absent('webgpu', 'no WebGPU');
    if ((await (navigator.gpu as { requestAdapter(): Promise<object | null> }).requestAdapter()) === null)
      throw absent('webgpu', 'WebGPU without an adapter');
    await import('@tensorflow/tfjs-backend-webgpu');
  },
};

const absent = (name: BackendName, got: string) =>
  new BackendError(
    'backend-missing',
    `${name}: expected a browser and a device that have it, got ${got}; another backend serves.`,
  );

/** What tfjs keeps behind its backends and does not export. */
interface Inner {
  readonly gpgpu?: { readonly gl: WebGL2RenderingContext };
  readonly device?: { readonly lost: Promise<{ readonly message: string; readonly reason: string }> };
  checkCompileCompletionAsync?(): Promise<unknown>;
  getUniformLocations?(): void;
}
const inner = (): Inner => tf.backend() as unknown as Inner;

/**
 * Makes a backend the worker's only one, and tells when its device is lost.
 *
 * @throws BackendError where it does not start here
 */
export async function startBackend(name: BackendName, onLost: () => void): Promise<void> {
  tf.enableProdMode();
  await register[name]();
  if (tf.engine().registryFactory[name] === undefined || !(await tf.setBackend(name)))
    throw absent(name, 'one where it does not start');
  if (name === 'wasm') await useOwnKernels();
  const { gpgpu, device } = inner();
  gpgpu?.gl.canvas.addEventListener('webglcontextlost', onLost);
  void device?.lost.then(({ reason }) => reason !== 'destroyed' && onLost());
}

/** Without SIMD the layers go on without them. */
async function useOwnKernels(): Promise<void> {
  const { registerWasmKernels } = await import('@pvt/adapter-wasm');
  try {
    await registerWasmKernels();
  } catch (error) {
    if (!(error instanceof BackendError && error.code === 'wasm-simd-missing')) throw error;
  }
}

/** Whether the graphics context is gone: then results are zeros without a word. */
export const contextLost = (): boolean =>
  tf.getBackend() === 'webgl' && (inner().gpgpu?.gl.isContextLost() ?? false);

/**
 * Compiles all shaders of a forward at once, side by side where the driver can, before one of them runs. On other
 * backends there is nothing to do.
 */
export async function compile(forward: () => Promise<unknown> | unknown): Promise<void> {
  const flag = { webgl: 'ENGINE_COMPILE_ONLY', webgpu: 'WEBGPU_ENGINE_COMPILE_ONLY' }[tf.getBackend()];
  if (flag === undefined) return;
  tf.env().set(flag, true);
  try {
    await forward();
    await inner().checkCompileCompletionAsync?.();
    inner().getUniformLocations?.();
  } finally {
    tf.env().set(flag, false);
  }
}

export interface Memory {
  readonly tensors: number;
  readonly bytes: number;
  /** Bytes of textures, those that wait to be used again included; only webgl counts them. */
  readonly textureBytes: number | undefined;
}

export function memory(): Memory {
  const { numTensors, numBytes, ...more } = tf.memory() as tf.MemoryInfo & {
    readonly numBytesInGPUAllocated?: number;
  };
  return { tensors: numTensors, bytes: numBytes, textureBytes: more.numBytesInGPUAllocated };
}
