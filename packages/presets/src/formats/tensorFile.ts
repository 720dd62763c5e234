import { sizeOf } from '@pvt/core';
import { dtypes, type Dtype } from './dtypes.ts';
import type { Reading } from './readableFile.ts';
import type { TensorEntry } from './safetensors.ts';

export type Format = 'safetensors' | 'torch-zip' | 'torch-legacy';

/** Bytes of a file that one or more tensors share. */
export interface Storage {
  /** Whether each read inflates and checks the bytes again, so that they are worth retaining. */
  readonly expensive: boolean;
  /** Reads the bytes and checks them against the file's checksum. */
  read(): Reading<Uint8Array>;
}

/** A tensor that a file holds, before its bytes are read. */
export interface StoredTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly storage: Storage;
  /** Byte offset of its first value in the storage. */
  readonly offset: number;
  /** Strides in values along each axis, if it is not contiguous. */
  readonly strides?: readonly number[];
}

/** What a checkpoint file of any format holds. Every tensor lies within its storage. */
export interface TensorFile {
  readonly format: Format;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: ReadonlyMap<string, string>;
  /** What the file holds beside the tensors and is not read: optimizer state, arguments. */
  readonly skipped: readonly string[];
}

/** A tensor's contiguous bytes: a view of the storage if they already are. */
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
