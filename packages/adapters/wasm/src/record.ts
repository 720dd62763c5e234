import * as tf from '@tensorflow/tfjs-core';
import type { DataId, TensorInfo } from '@tensorflow/tfjs-core';
import { BackendError, ConfigError, ShapeError } from '@pvt/core';
import { Operation } from '../assembly/operation.ts';
import { sizeOf } from './check.ts';
import { elementaryKernels } from './elementary.ts';
import type { Exports, Heap } from './heap.ts';
import { forwardKernels } from './kernels.ts';

/** A block of memory that a plan reads or writes, before it has an address. */
export interface Block {
  readonly bytes: number;
  /** Where its bytes come from before the first step; a block without is the result of steps. */
  readonly source?:
    | { readonly input: number }
    | { readonly values: Float32Array }
    | { readonly tensor: tf.Tensor }
    | {
        readonly panelsOf: Block;
        readonly inputs: number;
        readonly outputs: number;
        readonly transposed: boolean;
      };
}

/** A kernel's call: whole numbers, and numbers from {@link blockUnit} on that stand for addresses. */
export interface Call {
  readonly operation: keyof typeof Operation;
  readonly words: readonly number[];
}

/** One forward, written down: what it calls, on which blocks, and where in its output the tensors are. */
export interface Recording<O> {
  readonly blocks: readonly Block[];
  readonly calls: readonly Call[];
  /** Bytes that a thread needs beside the blocks. */
  readonly scratchBytes: number;
  /** The forward's output with what stands for its tensors in their place. */
  readonly output: O;
  /** Where the tensors of the output find their values. */
  readonly results: ReadonlyMap<tf.Tensor, { readonly address: number; readonly shape: readonly number[] }>;
}

/** Calls that only plans make: what tfjs's kernels do elsewhere. */
type PlanExports = Record<
  'binary' | 'unary' | 'copyBlocks' | 'mean' | 'transpose' | 'softmaxRows',
  (...numbers: number[]) => void
>;
export interface PlanHeap extends Heap {
  readonly kernels: Exports & PlanExports;
}
export type PlanKernel = (
  heap: PlanHeap,
  inputs: Readonly<Record<string, TensorInfo | undefined>>,
  attrs: Readonly<Record<string, unknown>>,
) => TensorInfo | TensorInfo[];

/**
 * An address in a recording is its block's index + 1, times this, plus an offset. Kernels calculate with addresses as
 * with any numbers, and both parts are found again: no memory is as large as the unit, and 2^20 units are whole numbers.
 */
export const blockUnit = 2 ** 33;

const backendName = 'pvt-recorder';
const kernels: Readonly<Record<string, PlanKernel>> = { ...elementaryKernels, ...forwardKernels };

const checkType = ({ dtype }: { readonly dtype: tf.DataType }): void => {
  if (dtype !== 'float32')
    throw new ShapeError(
      'kernel-input-invalid',
      `createRunner: expected float32 tensors, got ${dtype}; cast them, or do this outside of what is recorded.`,
    );
};

/** A tfjs backend that computes nothing: its kernels write down what ours would be called with. */
class Recorder extends tf.KernelBackend {
  readonly blocks: Block[] = [];
  readonly calls: Call[] = [];
  scratchBytes = 0;
  readonly heap: PlanHeap;
  private readonly known = new Map<DataId, number>();
  private readonly panels = new Map<string, number>();

  constructor(sizes: Exports) {
    super();
    const write =
      (operation: keyof typeof Operation) =>
      (...words: number[]) => {
        this.calls.push({ operation, words });
        return 0;
      };
    const operations = Object.fromEntries(
      (Object.keys(Operation) as (keyof typeof Operation)[]).map((operation) => [
        operation,
        write(operation),
      ]),
    );
    this.heap = {
      kernels: { ...sizes, ...operations } as unknown as PlanHeap['kernels'],
      address: ({ dataId }) => this.known.get(dataId)!,
      output: (shape) => this.add(shape, { bytes: 4 * sizeOf(shape) }),
      zeros: (shape) =>
        this.add(shape, { bytes: 4 * sizeOf(shape), source: { values: new Float32Array(sizeOf(shape)) } }),
      scratch: (bytes) => {
        this.scratchBytes = Math.max(this.scratchBytes, bytes);
        return 0;
      },
      panels: (weight, inputs, outputs, transposed = false) => {
        const address = this.heap.address(weight);
        const key = `${address} ${transposed}`;
        const panelsOf = this.blocks[Math.floor(address / blockUnit) - 1]!;
        if (panelsOf.source === undefined || 'input' in panelsOf.source)
          throw new ShapeError(
            'kernel-input-invalid',
            'createRunner: expected the weights of products not to depend on the input, got one that does; do this outside of what is recorded.',
          );
        const bytes = sizes.panelBytes(transposed ? inputs : outputs, transposed ? outputs : inputs);
        const known =
          this.panels.get(key) ?? this.block({ bytes, source: { panelsOf, inputs, outputs, transposed } });
        this.panels.set(key, known);
        return known;
      },
    };
  }

  private block(block: Block): number {
    this.blocks.push(block);
    return this.blocks.length * blockUnit;
  }

  add(shape: readonly number[], block: Block): TensorInfo {
    return this.name(this.block(block), shape);
  }

  private name(address: number, shape: readonly number[]): TensorInfo {
    const dataId = {};
    this.known.set(dataId, address);
    return { dataId, shape: [...shape], dtype: 'float32' };
  }

  /** The address of a tensor. Those of other backends were there before, and so are constants. */
  addressOf(tensor: tf.Tensor): number {
    checkType(tensor);
    if (!this.known.has(tensor.dataId))
      this.known.set(tensor.dataId, this.block({ bytes: 4 * tensor.size, source: { tensor } }));
    return this.known.get(tensor.dataId)!;
  }

  run(
    kernel: string,
    inputs: Readonly<Record<string, tf.Tensor | undefined>>,
    attrs: Readonly<Record<string, unknown>>,
  ): TensorInfo | TensorInfo[] {
    for (const tensor of Object.values(inputs)) if (tensor !== undefined) this.addressOf(tensor);
    if (kernel === 'Identity' || kernel === 'Reshape') {
      const x = (inputs['x'] ?? inputs['tensor'])!;
      return this.name(
        this.heap.address(x),
        kernel === 'Reshape' ? inferred(attrs['shape'] as number[], x.size) : x.shape,
      );
    }
    return kernels[kernel]!(this.heap, inputs, attrs);
  }

  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): DataId {
    checkType({ dtype });
    return this.add(shape, {
      bytes: 4 * sizeOf(shape),
      source: { values: Float32Array.from(values as Float32Array) },
    }).dataId;
  }
  override readSync(): never {
    throw new BackendError(
      'recording-has-no-values',
      'createRunner: expected a forward that reads no values of tensors, got one that does; read them from what run() returns.',
    );
  }
  override read(): never {
    return this.readSync();
  }
  // What has no memory needs no freeing.
  override numDataIds = () => 0;
  override disposeData = () => true;
  override incRef = () => undefined;
  override refCount = () => 1;
  override memory = () => ({ unreliable: false });
  override floatPrecision = (): 32 => 32;
  override timerAvailable = () => false;
  override dispose = () => undefined;
}

/** A shape with at most one side of -1 for what is left. */
function inferred(shape: readonly number[], size: number): number[] {
  const rest = size / Math.abs(sizeOf(shape));
  return shape.map((side) => (side === -1 ? rest : side));
}

/** The tensors anywhere inside of a structure of arrays and objects. */
export function tensorsOf(structure: unknown): tf.Tensor[] {
  if (structure instanceof tf.Tensor) return [structure];
  return typeof structure === 'object' && structure !== null
    ? Object.values(structure).flatMap(tensorsOf)
    : [];
}

/** A structure with other things in the places of its tensors. */
export function replaceTensors(structure: unknown, replace: (tensor: tf.Tensor) => unknown): unknown {
  if (structure instanceof tf.Tensor) return replace(structure);
  if (Array.isArray(structure)) return structure.map((part) => replaceTensors(part, replace));
  if (typeof structure !== 'object' || structure === null) return structure;
  return Object.fromEntries(
    Object.entries(structure).map(([name, part]) => [name, replaceTensors(part, replace)]),
  );
}

/**
 * Runs a forward once on stand-ins for tensors and writes down the kernels that it calls.
 *
 * @param forward a pure function of its input, such as a model's, made of the layers and heads of `@pvt`
 * @throws BackendError for an op that has no kernel here
 */
export function record<I, O>(forward: (input: I) => O, input: I, sizes: Exports): Recording<O> {
  const recorder = new Recorder(sizes);
  const before = tf.getBackend();
  const names = [...Object.keys(kernels), 'Identity', 'Reshape'];
  tf.registerBackend(backendName, () => recorder);
  for (const kernelName of names) {
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs }) =>
        recorder.run(
          kernelName,
          inputs as Record<string, tf.Tensor>,
          (attrs ?? {}) as Record<string, unknown>,
        ),
    });
  }
  tf.engine().startScope();
  try {
    // With a backend that is there at once, what follows the call of setBackend runs after the change.
    void tf.setBackend(backendName);
    let inputs = 0;
    const standIn = ({ shape, size, dtype }: tf.Tensor) => {
      checkType({ dtype });
      return tf
        .engine()
        .makeTensorFromTensorInfo(recorder.add(shape, { bytes: 4 * size, source: { input: inputs++ } }));
    };
    const output = forward(replaceTensors(input, standIn) as I);
    const results = new Map(
      tensorsOf(output).map((tensor) => [
        tensor,
        { address: recorder.addressOf(tensor), shape: tensor.shape },
      ]),
    );
    if (results.size === 0)
      throw new ConfigError(
        'runner-output-missing',
        'createRunner: expected a forward that returns tensors at once, in arrays and objects, got none; return them, and no promise.',
      );
    return {
      blocks: recorder.blocks,
      calls: recorder.calls,
      scratchBytes: recorder.scratchBytes,
      output,
      results,
    };
  } catch (error) {
    const missing =
      /Kernel '(\w+)' not registered/.exec(String(error)) ??
      /Cannot find registered kernel '(\w+)'/.exec(String(error));
    if (missing === null) throw error;
    throw new BackendError(
      'runner-op-missing',
      `createRunner: expected ops among ${names
        .filter((name) => !name.startsWith('Pvt'))
        .sort()
        .join(', ')} and the layers of @pvt, got ${missing[1]}; do this outside of what is recorded.`,
      { cause: error },
    );
  } finally {
    tf.engine().endScope();
    // Without one so far, tfjs chooses at its next op.
    if (before) void tf.setBackend(before);
    for (const kernelName of names) tf.unregisterKernel(kernelName, backendName);
    tf.removeBackend(backendName);
  }
}
