import { CheckpointError } from '@pvt/core';
import { Inflate } from 'fflate';
import type { Reading } from '../readableFile.ts';

/** A record of an archive, as its directory describes it. */
export interface ZipRecord {
  readonly name: string;
  /** Bytes it has once it is inflated. */
  readonly size: number;
  /**
   * Reads and inflates it, and checks its CRC. A stored record, as torch writes all of them, is returned as
   * it was read.
   *
   * @param expected the size it must have, checked before anything is read
   */
  read(expected?: number): Reading<Uint8Array>;
}

const maxDirectory = 33_554_432;
const maxRecords = 65_536;
/** Weights deflate to no less than a twentieth; a record that claims more is a zip bomb. */
const maxRatio = 20;
/** Records up to this size may be compressed more. */
const harmless = 16_777_216;

const fail = (
  problem: string,
  expected: string,
  got: string,
  remedy = 'the file is broken, download it again',
): never => {
  throw new CheckpointError(`zip-${problem}`, `zip: expected ${expected}, got ${got}; ${remedy}.`);
};

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * Reads an archive's directory. Ours, and not a library's, because records are read by ranges and stored ones
 * without a copy; what is deflated goes through fflate.
 *
 * @throws CheckpointError with a code for each way in which an archive can be broken
 */
export function* readZip(fileSize: number): Reading<ReadonlyMap<string, ZipRecord>> {
  const end = yield* readEnd(fileSize);
  if (end.count > maxRecords || end.size > maxDirectory)
    fail(
      'directory-large',
      `at most ${maxRecords} records`,
      `${end.count} in ${end.size} bytes`,
      'this is no checkpoint',
    );
  if (end.begin + end.size > end.limit)
    fail(
      'directory-outside',
      'a directory within the file',
      `bytes ${end.begin} to ${end.begin + end.size} of ${fileSize}`,
    );
  const directory = yield [end.begin, end.begin + end.size];
  const entries = parseDirectory(directory, end.count, end.begin);

  const byOffset = [...entries].sort((a, b) => a.begin - b.begin);
  const records = new Map<string, ZipRecord>();
  for (const [i, entry] of byOffset.entries()) {
    const limit = byOffset[i + 1]?.begin ?? end.begin;
    if (entry.begin + 30 + entry.nameLength + entry.packed > limit)
      fail(
        'overlap',
        `the record ${shown(entry.name)} before byte ${limit}`,
        `${entry.packed} bytes from byte ${entry.begin} on`,
        'do not trust this file',
      );
    if (records.has(entry.name))
      fail('duplicate', 'every name once', `${shown(entry.name)} twice`, 'do not trust this file');
    records.set(entry.name, {
      name: entry.name,
      size: entry.size,
      read: (expected) => readRecord(entry, limit, expected),
    });
  }
  return records;
}

interface Entry {
  readonly name: string;
  readonly nameLength: number;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly begin: number;
}

const shown = (name: string): string => JSON.stringify(name.slice(0, 80));

/**
 * Where the directory lies, from the record at the end of the file and, in large archives, the one of zip64
 * before it.
 */
function* readEnd(fileSize: number): Reading<{
  readonly count: number;
  readonly size: number;
  readonly begin: number;
  readonly limit: number;
}> {
  const tailBegin = Math.max(0, fileSize - 22 - 65_535 - 20);
  const tail = yield [tailBegin, fileSize];
  const view = viewOf(tail);
  let at = tail.length - 22;
  // The comment after the record, which torch leaves empty, must end with the file.
  while (
    at >= 0 &&
    !(view.getUint32(at, true) === 0x06054b50 && at + 22 + view.getUint16(at + 20, true) === tail.length)
  )
    at--;
  if (at < 0) return fail('cut', 'a directory at the end', 'none', 'the file is cut off, download it again');
  const limit = tailBegin + at;
  const disks = view.getUint16(at + 4, true) | view.getUint16(at + 6, true);
  const [count, size, begin] = [
    view.getUint16(at + 10, true),
    view.getUint32(at + 12, true),
    view.getUint32(at + 16, true),
  ];
  const large = count === 0xffff || size === 0xffffffff || begin === 0xffffffff;
  if (!large) {
    if (disks !== 0 || view.getUint16(at + 8, true) !== count)
      fail('disks', 'an archive in one file', 'one of several', 'join it first');
    return { count, size, begin, limit };
  }
  if (at < 20 || view.getUint32(at - 20, true) !== 0x07064b50)
    return fail('zip64', 'a locator of the large directory', 'none');
  const offset = safe(view.getBigUint64(at - 12, true));
  if (offset + 56 > limit) fail('zip64', 'a large directory within the file', `byte ${offset}`);
  const record = viewOf(yield [offset, offset + 56]);
  if (record.getUint32(0, true) !== 0x06064b50)
    fail('zip64', 'a large directory where its locator says', 'something else');
  return {
    count: safe(record.getBigUint64(32, true)),
    size: safe(record.getBigUint64(40, true)),
    begin: safe(record.getBigUint64(48, true)),
    limit: offset,
  };
}

const safe = (value: bigint): number =>
  value <= Number.MAX_SAFE_INTEGER
    ? Number(value)
    : fail('number', 'numbers below 2^53', `${value}`, 'do not trust this file');

function parseDirectory(bytes: Uint8Array, count: number, limit: number): Entry[] {
  const view = viewOf(bytes);
  const entries: Entry[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== 0x02014b50)
      fail('directory', `${count} records in the directory`, `${i}`);
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) =>
      view.getUint16(at + field, true),
    ) as [number, number, number];
    const next = at + 46 + nameLength + extraLength + commentLength;
    if (next > bytes.length) fail('directory', `${count} records in the directory`, `${i}`);
    const name = nameOf(bytes.subarray(at + 46, at + 46 + nameLength));
    if ((view.getUint16(at + 8, true) & 0x2041) !== 0)
      fail('encrypted', 'records in the open', `${shown(name)}, encrypted`, 'decrypt it first');
    const method = view.getUint16(at + 10, true);
    if (method !== 0 && method !== 8)
      fail(
        'method',
        'records that are stored or deflated',
        `${shown(name)}, packed by method ${method}`,
        'save the checkpoint again',
      );
    let [packed, size, begin] = [20, 24, 42].map((field) => view.getUint32(at + field, true)) as [
      number,
      number,
      number,
    ];
    // A field that does not fit is all ones here, and lies in the extra field of zip64, in this order.
    const wide = [size, packed, begin].filter((value) => value === 0xffffffff).length;
    if (wide > 0) {
      const fields = zip64(bytes.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength), wide);
      if (size === 0xffffffff) size = fields.shift()!;
      if (packed === 0xffffffff) packed = fields.shift()!;
      if (begin === 0xffffffff) begin = fields.shift()!;
    }
    if (begin + 30 > limit)
      fail('record-outside', `the record ${shown(name)} before the directory`, `byte ${begin}`);
    if (method === 0 && packed !== size) fail('size', `${size} stored bytes in ${shown(name)}`, `${packed}`);
    if (size > harmless && size > packed * maxRatio)
      fail(
        'bomb',
        `a record of at most ${maxRatio} times its packed size`,
        `${shown(name)}, ${size} bytes in ${packed}`,
        'do not trust this file',
      );
    entries.push({ name, nameLength, method, crc: view.getUint32(at + 16, true), packed, size, begin });
    at = next;
  }
  if (at !== bytes.length) fail('directory', `a directory of ${at} bytes`, `${bytes.length}`);
  return entries;
}

/** Nothing is ever written by these names; one that climbs out tells that the archive was made to harm. */
function nameOf(bytes: Uint8Array): string {
  const name = new TextDecoder().decode(bytes);
  if (name === '' || name.startsWith('/') || /[\\\0\ufffd]/.test(name) || name.split('/').includes('..'))
    fail('name', 'names inside of the archive', shown(name), 'do not trust this file');
  return name;
}

function zip64(extra: Uint8Array, fields: number): number[] {
  const view = viewOf(extra);
  for (let at = 0; at + 4 <= extra.length; at += 4 + view.getUint16(at + 2, true)) {
    if (view.getUint16(at, true) !== 1) continue;
    if (view.getUint16(at + 2, true) < 8 * fields || at + 4 + 8 * fields > extra.length) break;
    return Array.from({ length: fields }, (_, i) => safe(view.getBigUint64(at + 4 + 8 * i, true)));
  }
  return fail('zip64', 'sizes of a large record', 'none');
}

function* readRecord(
  { name, nameLength, method, crc, packed, size, begin }: Entry,
  limit: number,
  expected = size,
): Reading<Uint8Array> {
  if (size !== expected) fail('record-size', `${expected} bytes in the record ${shown(name)}`, `${size}`);
  const start = yield [begin, begin + 30 + nameLength];
  const header = viewOf(start);
  const here = new TextDecoder().decode(start.subarray(30));
  if (
    header.getUint32(0, true) !== 0x04034b50 ||
    header.getUint16(26, true) !== nameLength ||
    here !== name ||
    header.getUint16(8, true) !== method
  ) {
    fail('header', `the record ${shown(name)} at byte ${begin}`, 'something else');
  }
  const dataBegin = begin + 30 + nameLength + header.getUint16(28, true);
  if (dataBegin + packed > limit)
    fail(
      'overlap',
      `the record ${shown(name)} before byte ${limit}`,
      `${packed} bytes from byte ${dataBegin} on`,
      'do not trust this file',
    );
  const data = yield [dataBegin, dataBegin + packed];
  const bytes = method === 0 ? data : inflate(data, size, name);
  const found = crc32(bytes);
  if (found !== crc) fail('crc', `the CRC ${crc.toString(16)} of ${shown(name)}`, found.toString(16));
  return bytes;
}

/**
 * Inflates in small steps, so that a stream that holds more than it says is left before it fills the memory.
 */
function inflate(data: Uint8Array, size: number, name: string): Uint8Array {
  const bytes = new Uint8Array(size);
  let length = 0;
  let finished = false;
  const stream = new Inflate((chunk, final) => {
    if (length + chunk.length > size)
      fail('bomb', `${size} bytes in ${shown(name)}`, 'more', 'do not trust this file');
    bytes.set(chunk, length);
    length += chunk.length;
    finished = final;
  });
  const step = 4096;
  try {
    for (let at = 0; at < data.length; at += step)
      stream.push(data.subarray(at, at + step), at + step >= data.length);
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    throw new CheckpointError(
      'zip-deflate',
      `zip: expected deflated bytes in ${shown(name)}, got others (${(error as Error).message}); ` +
        'the file is broken, download it again.',
      {},
      { cause: error },
    );
  }
  if (!finished || length !== size) fail('deflate', `${size} bytes in ${shown(name)}`, `${length}`);
  return bytes;
}

/** Tables for eight bytes at a time (slicing-by-8). */
let tables: readonly Int32Array[] | undefined;

function crcTables(): readonly Int32Array[] {
  const first = Int32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
    return crc;
  });
  const all = [first];
  for (let k = 1; k < 8; k++) all.push(all[k - 1]!.map((crc) => first[crc & 255]! ^ (crc >>> 8)));
  return all;
}

/**
 * The CRC-32 of zip and PNG.
 *
 * @example
 * crc32(new TextEncoder().encode('123456789')).toString(16); // 'cbf43926'
 */
export function crc32(bytes: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = (tables ??= crcTables()) as [
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  let crc = -1;
  let at = 0;
  for (const end = bytes.length - 7; at < end; at += 8) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc =
      t7[crc & 255]! ^
      t6[(crc >>> 8) & 255]! ^
      t5[(crc >>> 16) & 255]! ^
      t4[crc >>> 24]! ^
      t3[bytes[at + 4]!]! ^
      t2[bytes[at + 5]!]! ^
      t1[bytes[at + 6]!]! ^
      t0[bytes[at + 7]!]!;
  }
  for (; at < bytes.length; at++) crc = t0[(crc ^ bytes[at]!) & 255]! ^ (crc >>> 8);
  return (crc ^ -1) >>> 0;
}
