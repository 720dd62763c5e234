import { CheckpointError } from '@pvt/core';
import { readRange, type Reading } from '../readableFile.ts';
import type { TensorFile } from '../tensorFile.ts';
import { isCut, unpickle, type PickleWorld } from './pickle.ts';
import { findState, storedTensors, torchWorld, type StorageClaim } from './tensors.ts';
import { readZip, type ZipRecord } from './zip.ts';

/** A hundred times the pickle of the largest training checkpoint. */
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
 * Reads what `torch.save` writes since torch 1.6 (`torch/serialization.py`): an archive of one pickle and one record for each storage.
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

/** Storages that are missing or short are told before any is read. */
function checkAll(
  tensors: Iterable<{ readonly claim: StorageClaim }>,
  check: (claim: StorageClaim) => unknown,
  skipped: readonly string[],
): readonly string[] {
  for (const { claim } of tensors) check(claim);
  return skipped;
}

/** What the first pickle of a legacy file holds. */
const magic = 0x1950a86a20f9469cfc6cn;

/** The world of a pickle that has numbers and texts only. */
const plain: PickleWorld = {
  global: () => undefined,
  persistent: () => fail('storage', 'no storage before the state dict', 'one'),
};

/**
 * Reads what `torch.save` wrote before torch 1.6, and writes without its zip serialisation: five pickles, and behind
 * them each storage with its number of values in front.
 *
 * @throws CheckpointError with a code for each way in which a file can be broken
 */
export function* readTorchLegacy(fileSize: number): Reading<TensorFile> {
  let start = yield [0, Math.min(fileSize, 65_536)];
  /** A pickle says where it ends only there: what is cut off is tried again with twice the bytes. */
  function* pickled(
    begin: number,
    world: () => PickleWorld,
  ): Reading<{ readonly value: unknown; readonly end: number }> {
    for (;;) {
      try {
        return unpickle(start, begin, world());
      } catch (error) {
        if (!isCut(error) || start.length === fileSize) throw error;
        if (start.length >= maxPickle)
          fail('pickle-large', `pickles of at most ${maxPickle} bytes`, 'more', 'this is no state dict');
      }
      start = yield [0, Math.min(fileSize, 2 * start.length)];
    }
  }
  const first = yield* pickled(0, () => plain);
  if (first.value !== magic)
    fail(
      'magic',
      "torch.save's number in front",
      'another value',
      'this is a pickle, but no checkpoint of torch.save',
    );
  const protocol = yield* pickled(first.end, () => plain);
  if (protocol.value !== 1001)
    fail(
      'version',
      'version 1001 of the format',
      String(protocol.value).slice(0, 40),
      'save the checkpoint again',
    );
  const system = yield* pickled(protocol.end, () => plain);
  if (!(system.value instanceof Map) || system.value.get('little_endian') !== true)
    fail('big-endian', 'little-endian values', 'others', 'save the checkpoint on a little-endian machine');
  let world = torchWorld();
  const state = yield* pickled(system.end, () => (world = torchWorld()));
  const { tensors, skipped } = findState(state.value);
  const keys = yield* pickled(state.end, () => plain);

  const places = new Map<string, number>();
  let at = keys.end;
  for (const key of Array.isArray(keys.value) ? (keys.value as unknown[]) : []) {
    const claim = typeof key === 'string' ? world.storages.get(key) : undefined;
    if (claim === undefined || places.has(claim.key))
      return fail(
        'storage-unknown',
        'each storage of the pickle once',
        JSON.stringify(String(key).slice(0, 40)),
        'do not trust this file',
      );
    if (at + 8 + claim.bytes > fileSize)
      fail(
        'cut',
        `${claim.bytes} bytes for a storage from byte ${at + 8} on`,
        `a file of ${fileSize}`,
        'the file is cut off, download it again',
      );
    const header = yield [at, at + 8];
    const count = new DataView(header.buffer, header.byteOffset).getBigInt64(0, true);
    if (count !== BigInt(claim.count))
      fail(
        'storage-size',
        `${claim.count} values in the storage ${JSON.stringify(claim.key.slice(0, 40))}`,
        `${count}`,
        'do not trust this file',
      );
    places.set(claim.key, at + 8);
    at += 8 + claim.bytes;
  }
  const placeOf = (claim: StorageClaim): number =>
    places.get(claim.key) ??
    fail('storage-missing', `the storage ${JSON.stringify(claim.key.slice(0, 40))}`, 'none');
  return {
    format: 'torch-legacy',
    tensors: storedTensors(
      tensors,
      (claim) => ({ expensive: false, read: () => readRange(placeOf(claim), placeOf(claim) + claim.bytes) }),
      fileSize,
    ),
    metadata: new Map(),
    skipped: checkAll(tensors.values(), placeOf, skipped),
  };
}
