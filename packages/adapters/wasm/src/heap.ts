import type { DataId, KernelBackend, TensorInfo } from '@tensorflow/tfjs-core';
import { BackendError } from '@pvt/core';

/** What the kernels use of tfjs's wasm backend. */
interface WasmBackend extends KernelBackend {
  readonly wasm: {
    readonly asm?: { readonly memory?: unknown };
    _malloc(bytes: number): number;
    _free(address: number): void;
  };
  readonly dataIdMap: {
    get(dataId: DataId): { readonly memoryOffset: number };
    has(dataId: DataId): boolean;
  };
  makeOutput(shape: number[], dtype: 'float32'): TensorInfo;
}

/** What `assembly/index.ts` exports; addresses and sizes are whole numbers. */
export type Exports = Record<
  | 'addRows'
  | 'attention'
  | 'bandRows'
  | 'attentionGradient'
  | 'attentionGradientScratch'
  | 'attentionScratch'
  | 'convolution'
  | 'convolutionFilterGradient'
  | 'convolutionInputGradient'
  | 'convolutionScratch'
  | 'depthwise'
  | 'depthwiseFilterGradient'
  | 'depthwiseScratch'
  | 'gelu'
  | 'geluGradient'
  | 'int8Bytes'
  | 'layerNorm'
  | 'layerNormGradient'
  | 'multiply'
  | 'multiplyScratch'
  | 'multiplyTransposed'
  | 'narrow'
  | 'pack'
  | 'packInt8'
  | 'panelBytes',
  (...numbers: number[]) => number
>;

/** Where kernels find their tensors. Addresses stay good when the memory grows; views of it would not, and so there are none. */
export interface Heap {
  readonly kernels: Exports;
  address(tensor: TensorInfo): number;
  output(shape: readonly number[]): TensorInfo;
  /** An output that starts with zeros. */
  zeros(shape: readonly number[]): TensorInfo;
  /** Room for one kernel's intermediate results; the next call may return the same. */
  scratch(bytes: number): number;
  /** The address of a weight in panels. They are kept for as long as tfjs keeps the weight's values. */
  panels(weight: TensorInfo, inputs: number, outputs: number, transposed?: boolean): number;
}

/** tfjs's own heap with our kernels over it. */
export interface BackendHeap extends Heap {
  readonly backend: WasmBackend;
  free(): void;
}

/**
 * @throws BackendError where the memory of the backend is out of reach, as in its threaded build
 */
export function heapOf(backend: KernelBackend, module: WebAssembly.Module): BackendHeap {
  const wasmBackend = backend as WasmBackend;
  const memory = wasmBackend.wasm.asm?.memory;
  if (!(memory instanceof WebAssembly.Memory) || !(memory.buffer instanceof ArrayBuffer)) {
    throw new BackendError(
      'wasm-memory-out-of-reach',
      "registerWasmKernels: expected a wasm backend whose memory can be shared with the kernels, got tfjs's threaded build; go on without the kernels, or set WASM_HAS_MULTITHREAD_SUPPORT to false before the backend starts.",
    );
  }
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as Exports;
  const {
    wasm: { _malloc: malloc, _free: release },
    dataIdMap,
  } = wasmBackend;
  const allocate = (bytes: number): number => {
    const address = malloc(bytes) >>> 0;
    if (address === 0)
      throw new BackendError(
        'wasm-memory-exhausted',
        `@pvt/adapter-wasm: expected ${bytes} bytes of the wasm backend's memory, got none; dispose of tensors, or use smaller batches.`,
      );
    return address;
  };

  let room = { address: 0, bytes: 0 };
  const packed = new Map<DataId, Map<boolean, number>>();
  const forget = (dataId: DataId): void => {
    for (const address of packed.get(dataId)!.values()) release(address);
    packed.delete(dataId);
  };
  const address = ({ dataId }: TensorInfo): number => dataIdMap.get(dataId).memoryOffset;
  const output = (shape: readonly number[]): TensorInfo => wasmBackend.makeOutput([...shape], 'float32');
  return {
    backend: wasmBackend,
    kernels,
    address,
    output,
    zeros(shape) {
      const tensor = output(shape);
      const start = address(tensor);
      new Uint8Array(memory.buffer, start, 4 * shape.reduce((a, b) => a * b, 1)).fill(0);
      return tensor;
    },
    scratch(bytes) {
      if (bytes > room.bytes) {
        release(room.address);
        room = { address: 0, bytes: 0 };
        room = { address: allocate(bytes), bytes };
      }
      return room.address;
    },
    panels(weight, inputs, outputs, transposed = false) {
      const known = packed.get(weight.dataId)?.get(transposed);
      if (known !== undefined) return known;
      for (const dataId of packed.keys()) if (!dataIdMap.has(dataId)) forget(dataId);
      const [columns, depth] = transposed ? [inputs, outputs] : [outputs, inputs];
      const [columnStride, depthStride] = transposed ? [4 * outputs, 4] : [4, 4 * outputs];
      const start = allocate(kernels.panelBytes(columns, depth));
      kernels.pack(columns, depth, address(weight), columnStride, depthStride, start, 1);
      const both = packed.get(weight.dataId) ?? new Map<boolean, number>();
      packed.set(weight.dataId, both.set(transposed, start));
      return start;
    },
    free() {
      release(room.address);
      room = { address: 0, bytes: 0 };
      for (const dataId of packed.keys()) forget(dataId);
    },
  };
}
