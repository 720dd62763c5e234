import type { StateDict } from '@pvt/core';
import { readTensorFile } from './detect.ts';
import { readSync, type ReadableFile, type Reading, type SynchronousFile } from './readableFile.ts';
import { toFloat32 } from './safetensors.ts';
import { entryOf, type Storage, type StoredTensor, type TensorFile } from './tensorFile.ts';

/** A tensor whose values are read each time they are asked for. */
export interface LazyTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
  /** The values, in `target` if they have to be copied anyway and it is as long as their bytes. */
  readValues(target?: Float32Array): Float32Array;
}

/** A file that was opened, and its tensors by the file's own names. */
export interface OpenedFile extends TensorFile {
  readonly state: StateDict;
}

const isSynchronous = (file: ReadableFile): file is SynchronousFile => file.readNow !== undefined;

const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/**
 * Reads a file as far as its values will need it. A synchronous file's parameters are read when they are
 * asked for; another's bytes are read here and retained, as are storages that are expensive to read.
 */
export function* openTensors(file: ReadableFile): Reading<OpenedFile> {
  const found = yield* readTensorFile(file.size);
  const synchronous = isSynchronous(file) ? file : undefined;
  const retained = new Map<Storage, Uint8Array>();
  for (const { storage } of found.tensors.values()) {
    if ((synchronous === undefined || storage.expensive) && !retained.has(storage))
      retained.set(storage, yield* storage.read());
  }
  const bytesIn = (storage: Storage, target?: Float32Array): Uint8Array =>
    retained.get(storage) ?? readSync(synchronous!, storage.read(), target && bytesOf(target));
  const lazily = (tensor: StoredTensor): LazyTensor => {
    const readValues = (target?: Float32Array) => toFloat32(entryOf(tensor, bytesIn(tensor.storage, target)));
    return {
      shape: tensor.shape,
      readValues,
      get values() {
        return readValues();
      },
    };
  };
  const state = new Map(Array.from(found.tensors, ([name, tensor]) => [name, lazily(tensor)]));
  return { ...found, state };
}
