/** A run of steps, or, with a module, what a thread starts with. */
export interface Order {
  /** Bytes that the memory must have. */
  readonly end: number;
  readonly writes: readonly (readonly [address: number, bytes: Uint8Array])[];
  readonly steps: number;
  readonly count: number;
  readonly scratch: number;
  readonly scratchBytes: number;
  readonly reads: readonly (readonly [address: number, bytes: number])[];
}
export interface Start {
  readonly module: WebAssembly.Module;
  /** Shared by all threads; a thread without makes its own. */
  readonly memory?: WebAssembly.Memory;
  readonly thread: number;
  readonly threads: number;
  readonly control: number;
}
export type Answer =
  { readonly ready: true } | { readonly results: readonly ArrayBuffer[] } | { readonly exhausted: number };
export function serve(
  answer: (message: Answer, transfer: ArrayBuffer[]) => void,
): (message: Start | Order) => void;
