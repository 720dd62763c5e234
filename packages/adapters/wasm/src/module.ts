import { BackendError } from '@pvt/core';

/**
 * @param binary in base64
 * @throws BackendError if the engine lacks SIMD, or threads for a module that uses them
 */
export async function compileBinary(binary: string, caller: string): Promise<WebAssembly.Module> {
  return WebAssembly.compile(Uint8Array.from(atob(binary), (character) => character.charCodeAt(0))).catch(
    (cause: unknown) => {
      throw new BackendError(
        'wasm-simd-missing',
        `${caller}: expected an engine with WebAssembly SIMD, got one that cannot compile the kernels; ` +
          'continue without them.',
        { cause },
      );
    },
  );
}
