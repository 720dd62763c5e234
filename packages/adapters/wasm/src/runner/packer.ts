import { enums, type WeightFormat } from '../generated/calls.ts';
import type { KernelExports } from '../kernels/heap.ts';

/** How weights of products may be stored. */
export const weightFormats = enums.WeightFormat;

export interface PackedWeight {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly format: WeightFormat;
}

/** A memory with kernels over it. */
interface Workspace {
  readonly memory: WebAssembly.Memory;
  readonly kernels: KernelExports;
}

/** Packs weights for products, in a memory of its own that lasts until {@link release}. */
export class Packer {
  /** Kernels that tell sizes, for which they need no memory. */
  readonly sizes: KernelExports;
  private workspace: Workspace | undefined;

  constructor(private readonly module: WebAssembly.Module) {
    this.sizes = this.open().kernels;
  }

  private open(): Workspace {
    const memory = new WebAssembly.Memory({ initial: 1 });
    // The module exports these functions; WebAssembly's types do not say which.
    const kernels = new WebAssembly.Instance(this.module, { env: { memory } }).exports as KernelExports;
    return { memory, kernels };
  }

  /** Packs a matrix [inputs, outputs] in the wanted format, or in float32 if float16 would not be exact. */
  pack(values: Float32Array, inputs: number, outputs: number, wanted: WeightFormat): PackedWeight {
    this.workspace ??= this.open();
    const { memory, kernels } = this.workspace;
    const source = 16;
    const panelBytes = kernels.panelBytes(outputs, inputs);
    const panels = source + Math.ceil(values.byteLength / 16) * 16;
    const converted = panels + panelBytes;
    const end = converted + (wanted === 'int8' ? kernels.int8Bytes(outputs, inputs) : panelBytes / 2);
    if (end > memory.buffer.byteLength) memory.grow(Math.ceil((end - memory.buffer.byteLength) / 65536));
    new Float32Array(memory.buffer, source, values.length).set(values);
    kernels.pack(outputs, inputs, source, 4, 4 * outputs, panels, 1);
    if (wanted === 'int8') kernels.packInt8(outputs, inputs, panels, converted);
    const exact = wanted !== 'float16' || kernels.narrow(panelBytes / 4, panels, converted) === 1;
    const format = exact ? wanted : 'float32';
    const [from, to] = format === 'float32' ? [panels, converted] : [converted, end];
    return { bytes: new Uint8Array(memory.buffer.slice(from, to)), format };
  }

  /** Frees the memory. */
  release(): void {
    this.workspace = undefined;
  }
}
