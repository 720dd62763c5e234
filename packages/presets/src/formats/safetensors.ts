import { CheckpointError } from '@pvt/core';
import { JsonError, parseJson, type Json } from '../json.ts';
import { decode, dtypes, encode, type Dtype } from './dtypes.ts';

/** A tensor in a file: row-major, little-endian. */
export interface TensorEntry {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Where a tensor lies, before its bytes are read. */
export interface TensorLocation {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** First byte and the one after the last, counted from the start of the file. */
  readonly range: readonly [begin: number, end: number];
}

export interface Safetensors<T = TensorEntry> {
  readonly tensors: ReadonlyMap<string, T>;
  /** The file's `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Longest header that the reference implementation reads, bytes. */
const maxHeader = 100_000_000;
/** Sixty times the largest PVT's; a file with more names is an attack or no model. */
const maxTensors = 65_536;

const fail = (
  problem: string,
  expected: string,
  got: string,
  remedy = 'the file is broken, download it again',
): never => {
  throw new CheckpointError(
    `safetensors-${problem}`,
    `safetensors: expected ${expected}, got ${got}; ${remedy}.`,
  );
};

/** A value from a file, short enough to print. */
const shown = (value: unknown): string => {
  const text =
    JSON.stringify(value, (_, inner: unknown) =>
      inner instanceof Map ? Object.fromEntries(inner) : inner,
    ) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
};

/**
 * Bytes from the start of a file to the end of its header, from the length in the first eight.
 *
 * @throws CheckpointError if there can be no header of that length
 */
export function safetensorsHeaderEnd(start: Uint8Array, fileSize: number): number {
  if (fileSize === 0) fail('empty', 'a file with a header', 'an empty file');
  if (fileSize < 8 || start.length < 8)
    fail('short', 'at least 8 bytes', `${Math.min(fileSize, start.length)}`);
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true);
  if (length > BigInt(Number.MAX_SAFE_INTEGER))
    fail('header-unsafe', 'a header length below 2^53', `${length}`, 'this is no safetensors file');
  if (length > maxHeader)
    fail('header-long', `a header of at most ${maxHeader} bytes`, `${length}`, 'this is no safetensors file');
  if (length === 0n) fail('header-missing', 'a header', 'one of 0 bytes');
  const end = 8 + Number(length);
  if (end > fileSize)
    fail(
      'header-cut',
      `a header of ${length} bytes`,
      `a file of ${fileSize} bytes`,
      'the file is cut off, download it again',
    );
  return end;
}

/**
 * Reads a header alone, so that tensors can be fetched by range: `bytes` must contain all of it, `fileSize`
 * is the whole file's.
 *
 * @throws CheckpointError with a code for each way in which a file can be broken
 * @example
 * const { tensors } = parseSafetensorsHeader(firstBytes, size);
 * const [begin, end] = tensors.get('head.bias')!.range;
 */
export function parseSafetensorsHeader(
  bytes: Uint8Array,
  fileSize = bytes.length,
): Safetensors<TensorLocation> {
  const dataStart = safetensorsHeaderEnd(bytes, fileSize);
  if (bytes.length < dataStart)
    fail(
      'header-incomplete',
      `${dataStart} bytes to read the header from`,
      `${bytes.length}`,
      'fetch as many as safetensorsHeaderEnd says',
    );
  const header = parseHeader(bytes.subarray(8, dataStart));
  if (!(header instanceof Map))
    fail('header-not-object', 'a JSON object for a header', shown(header), 'this is no safetensors file');

  const metadata = new Map<string, string>();
  const tensors = new Map<string, TensorLocation>();
  for (const [name, value] of header as ReadonlyMap<string, Json>) {
    if (name === '__metadata__') readMetadata(value, metadata);
    else if (name === '__proto__')
      fail('name-forbidden', 'names of parameters', shown(name), 'do not trust this file');
    else tensors.set(name, readLocation(name, value, dataStart));
  }
  checkLayout(tensors, dataStart, fileSize);
  return { tensors, metadata };
}

/**
 * Reads a whole file. The entries are views of `bytes`.
 *
 * @throws CheckpointError with a code for each way in which a file can be broken
 * @example
 * const { tensors, metadata } = parseSafetensors(new Uint8Array(await file.arrayBuffer()));
 * const bias = toFloat32(tensors.get('head.bias')!);
 */
export function parseSafetensors(bytes: Uint8Array): Safetensors {
  const { tensors, metadata } = parseSafetensorsHeader(bytes);
  const entries = Array.from(
    tensors,
    ([name, { dtype, shape, range }]) => [name, { dtype, shape, bytes: bytes.subarray(...range) }] as const,
  );
  return { tensors: new Map(entries), metadata };
}

/** An entry's values as float32: a view if the file holds aligned F32, else a conversion. */
export const toFloat32 = ({ bytes, dtype }: TensorEntry): Float32Array => decode(bytes, dtype);

/** Values as an entry to write; F16 and BF16 round to nearest, ties to even. */
export const fromFloat32 = (
  values: ArrayLike<number>,
  shape: readonly number[],
  dtype: Dtype = 'F32',
): TensorEntry => ({ dtype, shape, bytes: encode(values, dtype) });

/**
 * A safetensors file. Wide dtypes come before narrow ones, so that each tensor is aligned, and otherwise in
 * the order given.
 *
 * @throws CheckpointError if an entry's bytes do not have the length of its shape and dtype
 * @example
 * const metadata = writeHeader({ labels: ['cat', 'dog'] });
 * const file = writeSafetensors([['head.bias', fromFloat32(bias, [2], 'F16')]], metadata);
 */
export function writeSafetensors(
  entries: Iterable<readonly [name: string, entry: TensorEntry]>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const sorted = [...entries].sort(([, a], [, b]) => dtypes[b.dtype].size - dtypes[a.dtype].size);
  const header = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) header.set('__metadata__', metadata);
  let offset = 0;
  for (const [name, { dtype, shape, bytes }] of sorted) {
    if (name.startsWith('__') || header.has(name))
      fail(
        'name-forbidden',
        'a new name that does not begin with two underscores',
        shown(name),
        'rename the tensor',
      );
    checkSize(name, shape, dtype, bytes.length);
    header.set(name, { dtype, shape, data_offsets: [offset, (offset += bytes.length)] });
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const dataStart = 8 + Math.ceil(json.length / 8) * 8;
  const file = new Uint8Array(dataStart + offset);
  new DataView(file.buffer).setBigUint64(0, BigInt(dataStart - 8), true);
  file.fill(0x20, 8, dataStart).set(json, 8);
  let at = dataStart;
  for (const [, { bytes }] of sorted) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}

function parseHeader(bytes: Uint8Array): Json {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new CheckpointError(
      'safetensors-not-utf8',
      'safetensors: expected a header in UTF-8, got other bytes; this is no safetensors file.',
      {},
      { cause: error },
    );
  }
  try {
    return parseJson(text, maxTensors);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const detail = error.message.slice(0, 120);
    switch (error.kind) {
      case 'duplicate':
        return fail('duplicate-key', 'every name once', `${shown(detail)} twice`, 'do not trust this file');
      case 'members':
        return fail('too-many', `at most ${maxTensors} names`, detail, 'this is no model');
      case 'depth':
        return fail('too-deep', 'a flat header', detail, 'this is no safetensors file');
      case 'syntax':
        return fail('not-json', 'a header in JSON', detail, 'this is no safetensors file');
    }
  }
}

function readMetadata(value: Json, metadata: Map<string, string>): void {
  if (!(value instanceof Map)) fail('metadata-invalid', 'an object for __metadata__', shown(value));
  for (const [key, text] of value as ReadonlyMap<string, Json>) {
    if (key === '__proto__')
      fail('name-forbidden', 'names of metadata', shown(key), 'do not trust this file');
    if (typeof text !== 'string')
      fail('metadata-invalid', `a string for the metadata ${shown(key)}`, shown(text));
    metadata.set(key, text as string);
  }
}

function readLocation(name: string, value: Json, dataStart: number): TensorLocation {
  const who = `the tensor ${shown(name)}`;
  const fields = ['dtype', 'shape', 'data_offsets'];
  if (!(value instanceof Map) || value.size !== fields.length || !fields.every((field) => value.has(field))) {
    return fail('entry-invalid', `dtype, shape and data_offsets for ${who}`, shown(value));
  }
  const [dtype, shape, offsets] = fields.map((field) => value.get(field) as Json);
  if (typeof dtype !== 'string' || !Object.hasOwn(dtypes, dtype))
    fail(
      'dtype-unknown',
      `a dtype out of ${Object.keys(dtypes).join(', ')} for ${who}`,
      shown(dtype),
      'convert the file first',
    );
  if (!Array.isArray(shape)) fail('shape-invalid', `a list of sides for ${who}`, shown(shape));
  for (const side of shape as Json[]) checkInteger('dimension', `sides of ${who}`, side);
  if (!Array.isArray(offsets) || offsets.length !== 2)
    fail('offsets-invalid', `two offsets for ${who}`, shown(offsets));
  for (const offset of offsets as Json[]) checkInteger('offset', `offsets of ${who}`, offset);
  const [begin, end] = offsets as [number, number];
  if (end < begin) fail('offsets-inverted', `an end after the beginning of ${who}`, `${begin} to ${end}`);
  checkSize(name, shape as number[], dtype as Dtype, end - begin);
  return { dtype: dtype as Dtype, shape: shape as number[], range: [dataStart + begin, dataStart + end] };
}

function checkInteger(problem: string, what: string, value: Json): void {
  if (typeof value !== 'number') return fail(`${problem}-invalid`, `numbers for the ${what}`, shown(value));
  if (value < 0) fail(`${problem}-negative`, `the ${what} from 0 up`, `${value}`);
  if (value % 1 !== 0 && Number.isFinite(value))
    fail(`${problem}-fractional`, `whole numbers for the ${what}`, `${value}`);
  if (!Number.isSafeInteger(value)) fail(`${problem}-unsafe`, `the ${what} below 2^53`, `${value}`);
}

function checkSize(name: string, shape: readonly number[], dtype: Dtype, bytes: number): void {
  let size: number = dtypes[dtype].size;
  for (const side of shape) {
    size *= side;
    if (size > Number.MAX_SAFE_INTEGER)
      fail(
        'size-overflow',
        `fewer than 2^53 bytes in the tensor ${shown(name)}`,
        `the shape ${shown(shape)}`,
      );
  }
  if (size !== bytes)
    fail(
      'size-mismatch',
      `${size} bytes for the tensor ${shown(name)}, ${dtype} ${shown(shape)}`,
      `${bytes}`,
    );
}

/** Checks that the tensors cover the data from its first byte to its last, each byte once. */
function checkLayout(
  tensors: ReadonlyMap<string, TensorLocation>,
  dataStart: number,
  fileSize: number,
): void {
  let expected = dataStart;
  const inOrder = [...tensors].sort(([, a], [, b]) => a.range[0] - b.range[0] || a.range[1] - b.range[1]);
  for (const [name, { range }] of inOrder) {
    const [begin, end] = range;
    if (begin < expected)
      fail('overlap', `the tensor ${shown(name)} from byte ${expected} on`, `${begin}, inside another`);
    if (begin > expected)
      fail('hole', `the tensor ${shown(name)} at byte ${expected}`, `${begin}, after bytes of no tensor`);
    expected = end;
  }
  if (expected > fileSize)
    fail('cut', `a file of ${expected} bytes`, `${fileSize}`, 'the file is cut off, download it again');
  if (expected < fileSize)
    fail('trailing', `a file of ${expected} bytes`, `${fileSize}, with bytes of no tensor behind`);
}
