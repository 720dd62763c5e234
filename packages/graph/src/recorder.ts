import * as tf from '@tensorflow/tfjs-core';
import type { DataId, TensorInfo } from '@tensorflow/tfjs-core';
import { BackendError, ShapeError } from '@pvt/core';
import { type Operation, type OperationName, operations } from './operations.ts';
import { invalidInput } from './shapes.ts';
import type { ComputedValue, InputValue, Shape, Value } from './value.ts';

/** Inputs as tfjs passes them: by name, or in a list (Concat). */
type Inputs<T> = Readonly<Record<string, T>> | readonly T[];
type Attributes = Readonly<Record<string, unknown>>;

/** An entry of the table without its types. */
interface AnyDefinition {
  attributes(given: Attributes, shapes: object): object;
  shape?(shapes: object, attributes: object): Shape;
  shapes?(shapes: object, attributes: object): readonly Shape[];
}

function mapInputs<T, U>(inputs: Inputs<T>, map: (input: T) => U): Inputs<U> {
  if (Array.isArray(inputs)) return inputs.map(map);
  return Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, map(input as T)]));
}

function describe(shape: Shape, dtype: tf.DataType): { shape: Shape; dtype: 'float32' } {
  if (dtype !== 'float32')
    throw new ShapeError(
      'kernel-input-invalid',
      `record: expected float32 tensors, got ${dtype}; cast them outside of the recorded forward.`,
    );
  return { shape: [...shape], dtype };
}

/** A tfjs backend that computes nothing: it writes down which kernels are called. */
export class Recorder extends tf.KernelBackend {
  readonly values: Value[] = [];
  readonly operations: Operation[] = [];
  private readonly known = new Map<DataId, Value>();

  addInput({ shape, dtype }: tf.Tensor, index: number): InputValue {
    return this.add({ id: this.values.length, kind: 'input', index, ...describe(shape, dtype) });
  }

  /** The value of a tensor. A tensor that does not come from the recorder existed before: it is a weight. */
  valueFor(tensor: tf.Tensor): Value {
    const known = this.known.get(tensor.dataId);
    if (known !== undefined) return known;
    const value = this.add({
      id: this.values.length,
      kind: 'weight',
      tensor,
      ...describe(tensor.shape, tensor.dtype),
    });
    this.known.set(tensor.dataId, value);
    return value;
  }

  /** A tensor that stands for a value. */
  tensorInfo(value: Value): TensorInfo {
    const dataId = {};
    this.known.set(dataId, value);
    return { dataId, shape: [...value.shape], dtype: value.dtype };
  }

  /** Writes down the call of a tfjs kernel, or of a fused one. */
  call(kernel: OperationName | 'Identity', tensors: Inputs<tf.Tensor>, given: Attributes) {
    const present = Array.isArray(tensors)
      ? tensors
      : Object.fromEntries(Object.entries(tensors).filter(([, tensor]) => tensor !== undefined));
    const inputs = mapInputs<tf.Tensor, Value>(present, (tensor) => this.valueFor(tensor));
    if (kernel === 'Identity') return this.tensorInfo(Object.values(inputs)[0]!);
    const definition: AnyDefinition = operations[kernel];
    const shapes = mapInputs(inputs, ({ shape }) => shape);
    const attributes = definition.attributes(given, shapes);
    for (const [name, value] of Object.entries(given))
      if (value !== undefined && !(name in attributes))
        throw invalidInput(kernel, `attributes ${Object.keys(attributes).join(', ') || 'none'}`, name);
    const outputShapes = definition.shapes?.(shapes, attributes) ?? [definition.shape!(shapes, attributes)];
    const outputs = outputShapes.map((shape) => this.addComputed(shape));
    // The table pairs the name with the types of the others, which the compiler cannot follow here.
    const operation: { name: string; inputs: object; attributes: object; outputs: ComputedValue[] } = {
      name: kernel,
      inputs,
      attributes,
      outputs,
    };
    this.operations.push(operation as Operation);
    const infos = outputs.map((output) => this.tensorInfo(output));
    return definition.shapes ? infos : infos[0]!;
  }

  private addComputed(shape: Shape): ComputedValue {
    return this.add({ id: this.values.length, kind: 'computed', shape: [...shape], dtype: 'float32' });
  }

  private add<V extends Value>(value: V): V {
    this.values.push(value);
    return value;
  }

  /** tfjs calls this for tensors that the forward makes from numbers. */
  override write(data: tf.BackendValues, shape: number[], dtype: tf.DataType): DataId {
    const value = this.add({
      id: this.values.length,
      kind: 'constant',
      // The dtype is checked here; whatever array holds the numbers, a copy protects them from later changes.
      ...describe(shape, dtype),
      data: Float32Array.from(data as ArrayLike<number>),
    });
    return this.tensorInfo(value).dataId;
  }

  override readSync(): never {
    throw new BackendError(
      'recording-has-no-values',
      'record: expected a forward that does not read values of tensors, got one that does; ' +
        'read them from its results instead.',
    );
  }

  override read(): never {
    return this.readSync();
  }

  // The rest of tfjs's interface: without data there is nothing to count or to free.
  override numDataIds = () => 0;
  override disposeData = () => true;
  override incRef = () => undefined;
  override refCount = () => 1;
  override memory = () => ({ unreliable: false });
  override floatPrecision = (): 32 => 32;
  override timerAvailable = () => false;
  override dispose = () => undefined;
}
