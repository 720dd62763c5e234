import { sizeOf } from '@pvt/core';
import { dtypes, type Dtype } from './dtypes.ts';
import type { Reading } from './readableFile.ts';
import type { TensorEntry } from './safetensors.ts';

export type Format = 'safetensors' | 'torch-zip' | 'torch-legacy';

/** Bytes of a file that one or more tensors are views of. */
export interface Storage {
  /** Whether each reading inflates and checks anew, so that the bytes are worth keeping. */
  readonly expensive: boolean;
  /** Reads them and checks them against what the file says of them. */
  read(): Reading<Uint8Array>;
}

/** A tensor that a file holds, before its bytes are read. */
export interface StoredTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly storage: Storage;
  /** Where in the storage its first value lies, bytes. */
  readonly offset: number;
  /** Values from one entry to the next along each axis, where they are not row-major without gaps. */
  readonly strides?: readonly number[];
}

/** What a checkpoint file of any format holds; every tensor lies within its storage. */
export interface TensorFile {
  readonly format: Format;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: ReadonlyMap<string, string>;
  /** What else lies beside the tensors and is not read: optimizer state, arguments. */
  readonly skipped: readonly string[];
}

/** A tensor's values, row-major without gaps: a view of the storage's bytes where they are so already. */
export function entryOf({ dtype, shape, offset, strides }: StoredTensor, storage: Uint8Array): TensorEntry {
  const { size } = dtypes[dtype];
  const count = sizeOf(shape);
  if (strides === undefined || count === 0)
    return { dtype, shape, bytes: storage.subarray(offset, offset + count * size) };
  const bytes = new Uint8Array(count * size);
  const index = new Array<number>(shape.length).fill(0);
  for (let to = 0, from = offset; to < bytes.length; to += size) {
    for (let i = 0; i < size; i++) bytes[to + i] = storage[from + i]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]! * size;
      if (++index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]! * size;
      index[axis] = 0;
    }
  }
  return { dtype, shape, bytes };
}
