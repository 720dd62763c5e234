import type { DataId, KernelBackend, TensorInfo } from '@tensorflow/tfjs-core';
import { BackendError } from '@pvt/core';
import { sizeOf } from '../shape.ts';

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

/** What `assembly/index.ts` exports; addresses and sizes are integers. */
export type KernelExports = Record<
  | 'addRows'
  | 'attention'
  | 'attentionGradient'
  | 'attentionGradientScratch'
  | 'attentionScratch'
  | 'bandRows'
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

/**
 * The memory of tfjs's wasm backend, with our kernels over it. Addresses stay valid when the memory grows;
 * views of it would not, so there are none.
 */
export class Heap {
  readonly backend: WasmBackend;
  readonly kernels: KernelExports;
  private readonly memory: WebAssembly.Memory;
  private readonly malloc: (bytes: number) => number;
  private readonly release: (address: number) => void;
  private scratchRegion = { address: 0, bytes: 0 };
  /** Addresses of packed weights, by whether they are transposed. */
  private readonly packed = new Map<DataId, Map<boolean, number>>();

  /** @throws BackendError if the memory of the backend is out of reach, as in its threaded build */
  constructor(backend: KernelBackend, module: WebAssembly.Module) {
    // tfjs exports no type for its wasm backend.
    this.backend = backend as WasmBackend;
    const { asm, _malloc, _free } = this.backend.wasm;
    const memory = asm?.memory;
    if (!(memory instanceof WebAssembly.Memory) || !(memory.buffer instanceof ArrayBuffer)) {
      throw new BackendError(
        'wasm-memory-out-of-reach',
        'registerWasmKernels: expected a wasm backend whose memory can be shared with the kernels, got ' +
          "tfjs's threaded build; continue without the kernels, or set WASM_HAS_MULTITHREAD_SUPPORT to " +
          'false before the backend starts.',
      );
    }
    this.memory = memory;
    this.malloc = _malloc;
    this.release = _free;
    // The module exports these functions; WebAssembly's types do not say which.
    this.kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as KernelExports;
  }

  address({ dataId }: TensorInfo): number {
    return this.backend.dataIdMap.get(dataId).memoryOffset;
  }

  output(shape: readonly number[]): TensorInfo {
    return this.backend.makeOutput([...shape], 'float32');
  }

  /** An output that starts as zeros. */
  zeros(shape: readonly number[]): TensorInfo {
    const tensor = this.output(shape);
    new Uint8Array(this.memory.buffer, this.address(tensor), 4 * sizeOf(shape)).fill(0);
    return tensor;
  }

  /** The address of memory for one kernel's intermediate results; the next call may return the same. */
  scratch(bytes: number): number {
    if (bytes > this.scratchRegion.bytes) {
      this.freeScratch();
      this.scratchRegion = { address: this.allocate(bytes), bytes };
    }
    return this.scratchRegion.address;
  }

  /**
   * The address of a weight [inputs, outputs] packed for products. Packed weights are kept for as long as
   * tfjs keeps the weight's values.
   */
  panels(weight: TensorInfo, inputs: number, outputs: number, transposed = false): number {
    const known = this.packed.get(weight.dataId)?.get(transposed);
    if (known !== undefined) return known;
    const forgotten = [...this.packed.keys()].filter((dataId) => !this.backend.dataIdMap.has(dataId));
    for (const dataId of forgotten) this.freePanels(dataId);
    const [columns, depth] = transposed ? [inputs, outputs] : [outputs, inputs];
    const [columnStride, depthStride] = transposed ? [4 * outputs, 4] : [4, 4 * outputs];
    const address = this.allocate(this.kernels.panelBytes(columns, depth));
    this.kernels.pack(columns, depth, this.address(weight), columnStride, depthStride, address, 1);
    const both = this.packed.get(weight.dataId) ?? new Map<boolean, number>();
    this.packed.set(weight.dataId, both.set(transposed, address));
    return address;
  }

  /** Frees what does not belong to a tensor. */
  free(): void {
    this.freeScratch();
    for (const dataId of this.packed.keys()) this.freePanels(dataId);
  }

  private allocate(bytes: number): number {
    const address = this.malloc(bytes) >>> 0;
    if (address === 0)
      throw new BackendError(
        'wasm-memory-exhausted',
        `@pvt/adapter-wasm: expected ${bytes} bytes of the wasm backend's memory, got none; ` +
          'dispose of tensors, or use smaller batches.',
      );
    return address;
  }

  private freeScratch(): void {
    this.release(this.scratchRegion.address);
    this.scratchRegion = { address: 0, bytes: 0 };
  }

  private freePanels(dataId: DataId): void {
    for (const address of this.packed.get(dataId)!.values()) this.release(address);
    this.packed.delete(dataId);
  }
}
