import type { Value } from '@pvt/graph';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Call } from '../generated/calls.ts';
import type { KernelExports } from '../kernels/heap.ts';
import { sizeOf } from '../shape.ts';
import type { Address } from './address.ts';

/** Numbers that are known before a program runs. */
export type FixedSource =
  | { readonly kind: 'weight'; readonly tensor: Tensor }
  | { readonly kind: 'constant'; readonly data: Float32Array };

/** What a block contains before any call. */
export type Source =
  | FixedSource
  | { readonly kind: 'input'; readonly index: number }
  /** A matrix [inputs, outputs], packed for products. */
  | {
      readonly kind: 'panels';
      readonly weight: FixedSource;
      readonly inputs: number;
      readonly outputs: number;
    };

/** A block of memory that calls read or write, before it has an address. */
export interface Block {
  readonly bytes: number;
  /** Undefined for a block that calls write. */
  readonly source: Source | undefined;
}

/** A graph as calls of the module over blocks of memory. */
export interface Program {
  readonly blocks: readonly Block[];
  readonly calls: readonly Call[];
  /** The graph's outputs. */
  readonly outputs: readonly { readonly address: Address; readonly bytes: number }[];
}

/** Collects the calls of a program and assigns a block to each value of the graph. */
export class ProgramBuilder {
  readonly blocks: Block[] = [];
  readonly calls: Call[] = [];
  private readonly addresses = new Map<Value, Address>();
  private readonly panels = new Map<number, Address>();

  constructor(private readonly sizes: KernelExports) {}

  /** The address of an input, a weight, a constant, or a result that has been allocated. */
  address(value: Value): Address {
    const known = this.addresses.get(value);
    if (known !== undefined) return known;
    if (value.kind === 'computed') throw new RangeError(`Value ${value.id} is read before it is computed.`);
    return this.assign(value, this.add(4 * sizeOf(value.shape), value));
  }

  /** A block for a result, all of which calls must write. */
  allocate(value: Value): Address {
    return this.assign(value, this.temporary(4 * sizeOf(value.shape)));
  }

  /** A block of zeros, for a result that no call writes. */
  allocateZeros(value: Value): Address {
    const data = new Float32Array(sizeOf(value.shape));
    return this.assign(value, this.add(data.byteLength, { kind: 'constant', data }));
  }

  /** Lets a result share the block of another value. */
  alias(value: Value, other: Value): void {
    this.assign(value, this.address(other));
  }

  /** A block that lies between calls of one operation. */
  temporary(bytes: number): Address {
    return this.add(bytes, undefined);
  }

  /** The panels of a matrix [inputs, outputs]; undefined if calls compute the matrix. */
  panelsOf(weight: Value, inputs: number, outputs: number): Address | undefined {
    const { block } = this.address(weight);
    const known = this.panels.get(block);
    if (known !== undefined) return known;
    const { source } = this.blocks[block]!;
    if (source?.kind !== 'weight' && source?.kind !== 'constant') return undefined;
    const bytes = this.sizes.panelBytes(outputs, inputs);
    const panels = this.add(bytes, { kind: 'panels', weight: source, inputs, outputs });
    this.panels.set(block, panels);
    return panels;
  }

  call(call: Call): void {
    this.calls.push(call);
  }

  private add(bytes: number, source: Source | undefined): Address {
    this.blocks.push({ bytes, source });
    return { block: this.blocks.length - 1, offset: 0 };
  }

  private assign(value: Value, address: Address): Address {
    this.addresses.set(value, address);
    return address;
  }
}
