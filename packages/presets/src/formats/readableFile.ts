import { CheckpointError } from '@pvt/core';

/** A file of known size that is read in pieces: bytes in memory, a Blob, a file on disk, ranges of a URL. */
export interface ReadableFile {
  /** The file's name in errors. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** The bytes from `begin` up to, not including, `end`. They may be a view and are not written to. */
  read(begin: number, end: number): Promise<Uint8Array>;
  /**
   * The same synchronously, if the file can: parameters are then read one by one as they are needed, and
   * never held in memory together. Bytes that have to be copied anyway may be written to `target`, which has
   * their length and is reused.
   */
  readNow?(begin: number, end: number, target?: Uint8Array): Uint8Array;
}

export type SynchronousFile = ReadableFile & Required<Pick<ReadableFile, 'readNow'>>;

/**
 * Bytes in memory as a file; its pieces are views, not copies.
 *
 * @example
 * const file = fromBytes('pvt_v2_b0.pth', new Uint8Array(await response.arrayBuffer()));
 */
export function fromBytes(name: string, content: Uint8Array | ArrayBuffer): SynchronousFile {
  const bytes = content instanceof ArrayBuffer ? new Uint8Array(content) : content;
  const readNow = (begin: number, end: number) => bytes.subarray(begin, end);
  return { name, size: bytes.length, readNow, read: async (begin, end) => readNow(begin, end) };
}

/**
 * A reader that yields the ranges it needs and is given their bytes, so that it serves sync and async files
 * alike.
 */
export type Reading<T> = Generator<readonly [begin: number, end: number], T, Uint8Array>;

/** Reads the bytes from `begin` up to, not including, `end`. */
export function* readRange(begin: number, end: number): Reading<Uint8Array> {
  return yield [begin, end];
}

function checked(
  file: ReadableFile,
  [begin, end]: readonly [begin: number, end: number],
  bytes: Uint8Array,
): Uint8Array {
  if (bytes.length === end - begin) return bytes;
  throw new CheckpointError(
    'file-changed',
    `${file.name}: expected ${end - begin} bytes from byte ${begin} on, got ${bytes.length}; ` +
      'the file changed while it was read, read it again.',
  );
}

/** Runs a reader on a file asynchronously. */
export async function readFrom<T>(file: ReadableFile, reading: Reading<T>, signal?: AbortSignal): Promise<T> {
  let step = reading.next();
  while (!step.done) {
    signal?.throwIfAborted();
    step = reading.next(checked(file, step.value, await file.read(...step.value)));
  }
  return step.value;
}

/** Runs a reader on a file synchronously; a range of the length of `target` may be read into it. */
export function readSync<T>(file: SynchronousFile, reading: Reading<T>, target?: Uint8Array): T {
  let step = reading.next();
  while (!step.done) {
    const [begin, end] = step.value;
    step = reading.next(
      checked(
        file,
        step.value,
        file.readNow(begin, end, target?.length === end - begin ? target : undefined),
      ),
    );
  }
  return step.value;
}
