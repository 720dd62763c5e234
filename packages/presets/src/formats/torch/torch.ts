import { CheckpointError } from '@pvt/core';
import { readRange, type Reading } from '../readableFile.ts';
import type { TensorFile } from '../tensorFile.ts';
import { isCut, unpickle, type PickleWorld } from './pickle.ts';
import { findState, storedTensors, torchWorld, type StorageClaim } from './tensors.ts';
import { readZip, type ZipRecord } from './zip.ts';

/** A hundred times the largest training checkpoint's. */
const maxPickle = 16_777_216;

const fail = (
  problem: string,
  expected: string,
  got: string,
  remedy = 'the file is broken, download it again',
): never => {
  throw new CheckpointError(`torch-${problem}`, `torch: expected ${expected}, got ${got}; ${remedy}.`);
};

/**
 * Reads what `torch.save` writes since torch 1.6 (`torch/serialization.py`): an archive of one pickle and one
 * record for each storage.
 *
 * @throws CheckpointError with a code for each way in which a file can be broken
 */
export function* readTorchZip(fileSize: number): Reading<TensorFile> {
  const records = yield* readZip(fileSize);
  const pickles = [...records.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const [pickleName] = pickles;
  if (pickleName === undefined || pickles.length > 1)
    return fail(
      'no-pickle',
      'one data.pkl in the archive',
      `${pickles.length} among ${records.size} records`,
      'this is no checkpoint of torch.save',
    );
  const root = pickleName.slice(0, -'data.pkl'.length);
  if (records.has(`${root}constants.pkl`))
    fail(
      'script',
      'a checkpoint',
      'a TorchScript program',
      'load it with torch.jit.load and save its state_dict()',
    );
  const byteorder = records.get(`${root}byteorder`);
  if (byteorder !== undefined && new TextDecoder().decode(yield* byteorder.read(6)) !== 'little')
    fail('big-endian', 'little-endian values', 'others', 'save the checkpoint on a little-endian machine');
  const pickle = records.get(pickleName)!;
  if (pickle.size > maxPickle)
    fail(
      'pickle-large',
      `a data.pkl of at most ${maxPickle} bytes`,
      `${pickle.size}`,
      'this is no state dict',
    );

  const world = torchWorld();
  const { value } = unpickle(yield* pickle.read(), 0, world);
  const { tensors, skipped } = findState(value);
  const recordOf = (claim: StorageClaim): ZipRecord => {
    const record =
      records.get(`${root}data/${claim.key}`) ??
      fail('storage-missing', `a record for the storage ${JSON.stringify(claim.key.slice(0, 40))}`, 'none');
    if (record.size !== claim.bytes)
      fail(
        'storage-size',
        `${claim.bytes} bytes in the storage ${JSON.stringify(claim.key.slice(0, 40))}`,
        `${record.size}`,
        'do not trust this file',
      );
    return record;
  };
  return {
    format: 'torch-zip',
    tensors: storedTensors(
      tensors,
      (claim) => ({ expensive: true, read: () => recordOf(claim).read(claim.bytes) }),
      fileSize,
    ),
    metadata: new Map(),
    skipped: checkAll(tensors.values(), recordOf, skipped),
  };
}

/** Checks every tensor's storage before any is read. */
function checkAll(
  tensors: Iterable<{ readonly claim: StorageClaim }>,
  check: (claim: StorageClaim) => unknown,
  skipped: readonly string[],
): readonly string[] {
  for (const { claim } of tensors) check(claim);
  return skipped;
}

/** Value of a legacy file's first pickle. */
const magic = 0x1950a86a20f9469cfc6cn;

/** The world of a pickle of numbers and texts only. */
const plain: PickleWorld = {
  global: () => undefined,
  persistent: () => fail('storage', 'no storage before the state dict', 'one'),
};

/**
 * Reads what `torch.save` wrote before torch 1.6, and writes without its zip serialization: five pickles,
 * then each storage, preceded by its number of values.
 *
 * @throws CheckpointError with a code for each way in which a file can be broken
 */
export function* readTorchLegacy(fileSize: number): Reading<TensorFile> {
  const pickles = new PickleStream(fileSize);
  checkMagic(yield* pickles.next(() => plain));
  checkVersion(yield* pickles.next(() => plain));
  checkSystem(yield* pickles.next(() => plain));
  // A pickle that was cut off is read again, with a new world.
  let world = torchWorld();
  const { tensors, skipped } = findState(yield* pickles.next(() => (world = torchWorld())));
  const keys = yield* pickles.next(() => plain);
  const offsets = yield* locateStorages(keys, world.storages, pickles.end, fileSize);
  const offsetOf = (claim: StorageClaim): number =>
    offsets.get(claim.key) ?? fail('storage-missing', `the storage ${shownKey(claim.key)}`, 'none');
  return {
    format: 'torch-legacy',
    tensors: storedTensors(
      tensors,
      (claim) => ({
        expensive: false,
        read: () => readRange(offsetOf(claim), offsetOf(claim) + claim.bytes),
      }),
      fileSize,
    ),
    metadata: new Map(),
    skipped: checkAll(tensors.values(), offsetOf, skipped),
  };
}

const shownKey = (key: unknown): string => JSON.stringify(String(key).slice(0, 40));

/** Reads the pickles at the start of a file, whose lengths are not stated. */
class PickleStream {
  /** Where the last pickle ended. */
  end = 0;
  readonly #fileSize: number;
  #start: Uint8Array | undefined;

  constructor(fileSize: number) {
    this.#fileSize = fileSize;
  }

  /** The next pickle's value; while it is cut off, twice the bytes are read. */
  *next(world: () => PickleWorld): Reading<unknown> {
    this.#start ??= yield [0, Math.min(this.#fileSize, 65_536)];
    for (;;) {
      try {
        const { value, end } = unpickle(this.#start, this.end, world());
        this.end = end;
        return value;
      } catch (error) {
        if (!isCut(error) || this.#start.length === this.#fileSize) throw error;
        if (this.#start.length >= maxPickle)
          fail('pickle-large', `pickles of at most ${maxPickle} bytes`, 'more', 'this is no state dict');
      }
      this.#start = yield [0, Math.min(this.#fileSize, 2 * this.#start.length)];
    }
  }
}

function checkMagic(value: unknown): void {
  if (value !== magic)
    fail(
      'magic',
      "torch.save's number in front",
      'another value',
      'this is a pickle, but no checkpoint of torch.save',
    );
}

function checkVersion(value: unknown): void {
  if (value !== 1001)
    fail('version', 'version 1001 of the format', String(value).slice(0, 40), 'save the checkpoint again');
}

function checkSystem(value: unknown): void {
  if (!(value instanceof Map) || value.get('little_endian') !== true)
    fail('big-endian', 'little-endian values', 'others', 'save the checkpoint on a little-endian machine');
}

/** Byte offset of each storage's values, by key. */
function* locateStorages(
  keys: unknown,
  storages: ReadonlyMap<string, StorageClaim>,
  begin: number,
  fileSize: number,
): Reading<ReadonlyMap<string, number>> {
  const offsets = new Map<string, number>();
  let at = begin;
  for (const key of Array.isArray(keys) ? (keys as unknown[]) : []) {
    const claim = typeof key === 'string' ? storages.get(key) : undefined;
    if (claim === undefined || offsets.has(claim.key)) {
      const expected = 'each storage of the pickle once';
      return fail('storage-unknown', expected, shownKey(key), 'do not trust this file');
    }
    if (at + 8 + claim.bytes > fileSize) {
      const expected = `${claim.bytes} bytes for a storage from byte ${at + 8} on`;
      fail('cut', expected, `a file of ${fileSize}`, 'the file is cut off, download it again');
    }
    const header = yield [at, at + 8];
    const count = new DataView(header.buffer, header.byteOffset).getBigInt64(0, true);
    if (count !== BigInt(claim.count)) {
      const expected = `${claim.count} values in the storage ${shownKey(claim.key)}`;
      fail('storage-size', expected, `${count}`, 'do not trust this file');
    }
    offsets.set(claim.key, at + 8);
    at += 8 + claim.bytes;
  }
  return offsets;
}
