/** What a thread receives first. */
export interface StartMessage {
  readonly module: WebAssembly.Module;
  /** Shared by all threads. Default: the thread creates its own. */
  readonly memory?: WebAssembly.Memory;
  /** Index of the thread. */
  readonly thread: number;
  readonly threads: number;
  /** Address of the words of the barrier. */
  readonly control: number;
}

/** Calls to execute, with what the first thread writes before them and reads after them. */
export interface RunMessage {
  /** Bytes that the memory must have. */
  readonly memoryBytes: number;
  readonly writes: readonly (readonly [address: number, bytes: Uint8Array])[];
  /** Address of the encoded calls. */
  readonly calls: number;
  readonly count: number;
  readonly scratch: number;
  /** Bytes of scratch of each thread. */
  readonly scratchBytes: number;
  readonly reads: readonly (readonly [address: number, bytes: number])[];
}

export type Message = StartMessage | RunMessage;

export type Reply =
  | { readonly started: true }
  | { readonly results: readonly ArrayBuffer[] }
  /** The memory could not grow to so many bytes. */
  | { readonly exhausted: number };

export function createMessageHandler(
  reply: (message: Reply, transfer: ArrayBuffer[]) => void,
): (message: Message) => void;
