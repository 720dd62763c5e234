/** The WebAssembly binary of `assembly/`. */
export function compile(): Promise<Uint8Array>;
