import type { Exports } from './heap.ts';
import type { Call } from './record.ts';

/** How weights of products lie in memory, in the order in which the module counts the forms. */
export const weightForms = ['float32', 'float16', 'int8'] as const;
export type WeightForm = (typeof weightForms)[number];

/** Lays weights out in panels, in a memory of its own that lasts for as long as there is work. */
export interface Packer {
  /** The kernels' answers about bytes, which need no memory. */
  readonly sizes: Exports;
  /** Bytes beside its operands that a joined call needs; those of others are recorded with them. */
  scratchOf(call: Call): number;
  /** In the wanted form, or, where float16 would not be exact, in float32. */
  pack(
    values: Float32Array,
    inputs: number,
    outputs: number,
    transposed: boolean,
    wanted: WeightForm,
  ): { readonly bytes: Uint8Array<ArrayBuffer>; readonly form: WeightForm };
  /** Frees the memory. */
  rest(): void;
}

export function packerOf(module: WebAssembly.Module): Packer {
  const open = () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    return { memory, kernels: new WebAssembly.Instance(module, { env: { memory } }).exports as Exports };
  };
  const { kernels: sizes } = open();
  let work: ReturnType<typeof open> | undefined;
  return {
    sizes,
    scratchOf({ operation, words }) {
      if (operation !== 'depthwiseMultiply') return 0;
      const [, width, channels] = words as [number, number, number];
      return (
        4 * sizes.bandRows(width, channels) * width * channels +
        Math.max(sizes.depthwiseScratch(width), sizes.multiplyScratch())
      );
    },
    pack(values, inputs, outputs, transposed, wanted) {
      work ??= open();
      const { memory, kernels } = work;
      const [columns, depth] = transposed ? [inputs, outputs] : [outputs, inputs];
      const panels = 16 + Math.ceil(values.byteLength / 16) * 16;
      const other = panels + kernels.panelBytes(columns, depth);
      const otherBytes =
        wanted === 'int8' ? kernels.int8Bytes(columns, depth) : kernels.panelBytes(columns, depth) / 2;
      const end = other + otherBytes;
      if (end > memory.buffer.byteLength) memory.grow(Math.ceil((end - memory.buffer.byteLength) / 65536));
      new Float32Array(memory.buffer, 16, values.length).set(values);
      const [columnStride, depthStride] = transposed ? [4 * outputs, 4] : [4, 4 * outputs];
      kernels.pack(columns, depth, 16, columnStride, depthStride, panels, 1);
      if (wanted === 'int8') kernels.packInt8(columns, depth, panels, other);
      const form =
        wanted === 'float16' && kernels.narrow((other - panels) / 4, panels, other) === 0
          ? 'float32'
          : wanted;
      return {
        bytes: new Uint8Array(
          form === 'float32' ? memory.buffer.slice(panels, other) : memory.buffer.slice(other, end),
        ),
        form,
      };
    },
    rest() {
      work = undefined;
    },
  };
}
