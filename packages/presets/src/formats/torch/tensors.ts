import { CheckpointError, sizeOf } from '@pvt/core';
import { dtypes, type Dtype } from '../dtypes.ts';
import type { Storage, StoredTensor } from '../tensorFile.ts';
import { describe, Opaque, PickleGlobal, type PickleWorld } from './pickle.ts';

const maxTensors = 65_536;

const fail = (
  problem: string,
  expected: string,
  got: string,
  remedy = 'the file is broken, download it again',
): never => {
  throw new CheckpointError(`torch-${problem}`, `torch: expected ${expected}, got ${got}; ${remedy}.`);
};

/** Storage classes, and the dtypes of `_rebuild_tensor_v3`, by torch's names. */
const storageTypes: Readonly<Record<string, Dtype>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
};
const tensorTypes: Readonly<Record<string, Dtype>> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  float8_e4m3fn: 'F8_E4M3',
  float8_e5m2: 'F8_E5M2',
  int64: 'I64',
  uint64: 'U64',
  int32: 'I32',
  uint32: 'U32',
  int16: 'I16',
  uint16: 'U16',
  int8: 'I8',
  uint8: 'U8',
  bool: 'BOOL',
};

/** Found beside a state dict in training checkpoints; they stay closed. */
const inert = [
  'argparse.Namespace',
  'torch.Size',
  'torch.device',
  '__builtin__.set',
  'builtins.set',
  '_codecs.encode',
  'numpy.dtype',
  'numpy.ndarray',
  'numpy.core.multiarray.scalar',
  'numpy.core.multiarray._reconstruct',
  'numpy._core.multiarray.scalar',
  'numpy._core.multiarray._reconstruct',
];

/** A storage that a pickle refers to. */
export interface StorageClaim {
  readonly key: string;
  /** Undefined for an untyped storage, whose tensors say it. */
  readonly dtype: Dtype | undefined;
  /** Its length in values, or in bytes if it is untyped. */
  readonly count: number;
  readonly bytes: number;
}

class StorageRef {
  readonly claim: StorageClaim;

  constructor(claim: StorageClaim) {
    this.claim = claim;
  }
}

/** A tensor as the pickle describes it, checked against what the pickle says of its storage. */
export class TensorRef {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly strides: readonly number[] | undefined;
  /** Bytes from the start of the storage. */
  readonly offset: number;
  readonly claim: StorageClaim;

  constructor(claim: StorageClaim, dtype: Dtype, offset: unknown, size: unknown, stride: unknown) {
    const [shape, strides] = [sidesOf(size, 'sizes'), sidesOf(stride, 'strides')];
    if (shape.length !== strides.length) fail('strides', `${shape.length} strides`, `${strides.length}`);
    const first = countOf(offset, 'offset');
    const values = sizeOf(shape);
    const held = Math.floor(claim.bytes / dtypes[dtype].size);
    const last =
      values === 0 ? first - 1 : shape.reduce((at, side, axis) => at + (side - 1) * strides[axis]!, first);
    if (!(last < held && first <= held))
      fail(
        'outside',
        `tensors within their storage of ${held} values`,
        `one from ${first} to ${last}`,
        'do not trust this file',
      );
    if (values > held)
      fail(
        'expanded',
        `no more values than the ${held} of the storage`,
        `a tensor of [${shape}]`,
        'call .contiguous() before saving',
      );
    let step = 1;
    let dense = true;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (shape[axis] !== 1 && strides[axis] !== step) dense = false;
      step *= shape[axis]!;
    }
    this.claim = claim;
    this.dtype = dtype;
    this.shape = shape;
    this.strides = dense ? undefined : strides;
    this.offset = first * dtypes[dtype].size;
  }
}

const countOf = (value: unknown, what: string): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
    ? value
    : fail('number', `a whole number from 0 up for the ${what}`, describe(value));

function sidesOf(value: unknown, what: string): number[] {
  if (!Array.isArray(value) || value.length > 16)
    return fail('number', `a tuple of at most 16 ${what}`, describe(value));
  return value.map((side) => countOf(side, what));
}

/** What a state dict may refer to, and the storages it did refer to. */
export function torchWorld(): PickleWorld & { readonly storages: ReadonlyMap<string, StorageClaim> } {
  const storages = new Map<string, StorageClaim>();
  const globals = new Map<string, PickleGlobal>();
  const add = (name: string, call?: (args: readonly unknown[]) => unknown) =>
    void globals.set(name, new PickleGlobal(name, call));
  const claimOf = (value: unknown): StorageClaim =>
    value instanceof StorageRef
      ? value.claim
      : fail('storage', 'a storage to build a tensor from', describe(value));
  const typed = (args: readonly unknown[], count: number): TensorRef => {
    if (args.length < count)
      fail('arguments', `at least ${count} arguments to build a tensor from`, `${args.length}`);
    const claim = claimOf(args[0]);
    return new TensorRef(claim, claim.dtype ?? 'U8', args[1], args[2], args[3]);
  };

  add('collections.OrderedDict', ([pairs = []]) => {
    if (
      !Array.isArray(pairs) ||
      !pairs.every((pair) => Array.isArray(pair) && pair.length === 2 && typeof pair[0] === 'string')
    )
      return fail('arguments', 'names and values for an OrderedDict', describe(pairs));
    return new Map(pairs as [string, unknown][]);
  });
  add('torch._utils._rebuild_tensor', (args) => typed(args, 4));
  add('torch._utils._rebuild_tensor_v2', (args) => typed(args, 6));
  add('torch._utils._rebuild_tensor_v3', (args) => {
    const type = args[6];
    const dtype = type instanceof PickleGlobal ? tensorTypes[type.name.replace('torch.', '')] : undefined;
    return dtype === undefined
      ? fail('arguments', 'a dtype to build a tensor of', describe(type))
      : new TensorRef(claimOf(args[0]), dtype, args[1], args[2], args[3]);
  });
  add('torch._utils._rebuild_parameter', ([data]) =>
    data instanceof TensorRef ? data : fail('arguments', 'a tensor to make a parameter of', describe(data)),
  );
  for (const name of inert) add(name, () => new Opaque(name));
  for (const name of [
    ...Object.keys(storageTypes),
    'UntypedStorage',
    'storage.UntypedStorage',
    'storage.TypedStorage',
    'storage._TypedStorage',
    ...Object.keys(tensorTypes),
  ])
    add(`torch.${name}`);

  return {
    storages,
    global: (name) => globals.get(name),
    persistent(id) {
      const [kind, type, key, , counted, view] = Array.isArray(id) ? (id as unknown[]) : [];
      if (kind !== 'storage' || !(type instanceof PickleGlobal) || typeof key !== 'string')
        return fail('storage', 'a reference to a storage', describe(id));
      const className = type.name.replace('torch.', '');
      const dtype = storageTypes[className];
      if (dtype === undefined && !className.endsWith('UntypedStorage'))
        fail('storage', 'a storage of a dtype', type.name);
      if (view !== undefined && view !== null)
        fail(
          'storage',
          'whole storages',
          `a view of ${JSON.stringify(key.slice(0, 40))}`,
          'save the checkpoint again with a newer torch',
        );
      const count = countOf(counted, 'values of a storage');
      const bytes = countOf(count * (dtype === undefined ? 1 : dtypes[dtype].size), 'bytes of a storage');
      const known = storages.get(key);
      if (known !== undefined && (known.dtype !== dtype || known.count !== count))
        fail(
          'storage',
          `one size for the storage ${JSON.stringify(key.slice(0, 40))}`,
          `${known.count} and ${count}`,
          'do not trust this file',
        );
      const claim = known ?? { key, dtype, count, bytes };
      storages.set(key, claim);
      return new StorageRef(claim);
    },
  };
}

/** Where training code puts a model's state, the likeliest first. */
const wrappers = [
  'state_dict',
  'model',
  'model_state_dict',
  'module',
  'net',
  'network',
  'backbone',
  'student',
  'teacher',
  'state_dict_ema',
  'model_ema',
  'ema',
];

const isState = (value: unknown): boolean =>
  value instanceof Map && [...value.values()].some((entry) => entry instanceof TensorRef);

/** The state dict in what a file holds, and what lies beside it. */
export function findState(root: unknown): {
  readonly tensors: ReadonlyMap<string, TensorRef>;
  readonly skipped: readonly string[];
} {
  const skipped: string[] = [];
  let found = root;
  let path = '';
  for (let depth = 0; depth < 4 && found instanceof Map; depth++) {
    const around = found as ReadonlyMap<unknown, unknown>;
    const key =
      wrappers.find((name) => isState(around.get(name))) ??
      (isState(around) ? undefined : wrappers.find((name) => around.get(name) instanceof Map));
    if (key === undefined) break;
    for (const other of around.keys()) if (other !== key) skipped.push(`${path}${String(other)}`);
    path += `${key}.`;
    found = around.get(key);
  }
  if (!(found instanceof Map && isState(found)))
    return fail(
      'no-state',
      'a state dict, bare or under state_dict or model,',
      describe(root),
      'save model.state_dict()',
    );
  const tensors = new Map<string, TensorRef>();
  for (const [name, value] of found as ReadonlyMap<unknown, unknown>) {
    if (typeof name === 'string' && value instanceof TensorRef) tensors.set(name, value);
    else skipped.push(`${path}${String(name)}`);
  }
  if (tensors.size > maxTensors)
    fail('too-many', `at most ${maxTensors} tensors`, `${tensors.size}`, 'this is no model');
  return { tensors, skipped };
}

/**
 * Joins tensors with the storages that hold them. All of them together may not be much larger than the file:
 * views of one storage that overlap a thousand times would fill the memory when they are converted.
 */
export function storedTensors(
  tensors: ReadonlyMap<string, TensorRef>,
  storageOf: (claim: StorageClaim) => Storage,
  fileSize: number,
): ReadonlyMap<string, StoredTensor> {
  const most = 4 * fileSize + 16_777_216;
  let total = 0;
  const storages = new Map<string, Storage>();
  return new Map(
    Array.from(tensors, ([name, { claim, dtype, shape, strides, offset }]) => {
      total += sizeOf(shape) * dtypes[dtype].size;
      if (total > most)
        fail(
          'too-large',
          `tensors of at most ${most} bytes in a file of ${fileSize}`,
          'more',
          'do not trust this file',
        );
      const storage = storages.get(claim.key) ?? storages.set(claim.key, storageOf(claim)).get(claim.key)!;
      return [name, { dtype, shape, storage, offset, ...(strides !== undefined && { strides }) }];
    }),
  );
}
