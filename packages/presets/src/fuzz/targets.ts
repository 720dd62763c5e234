import { leavesOf, PvtError, pvtConfig, randomInit, sizeOf, type StateDict } from '@pvt/core';
import * as fc from 'fast-check';
import { parseConfig, parseShardIndex } from '../folder.ts';
import { fromFloat32, writeSafetensors } from '../formats/safetensors.ts';
import {
  magic,
  pickled,
  storage,
  tensor,
  torchLegacy,
  torchZip,
  zip,
  type Value,
} from '../formats/torch/fixtures/writer.ts';
import {
  fromHuggingFaceConfig,
  fromPreprocessorConfig,
  labelsOf,
  toHuggingFaceConfig,
  toPreprocessorConfig,
} from '../huggingFaceConfig.ts';
import { checkpointSpec, readCheckpoint } from '../load.ts';
import { fromCanonical } from '../names/naming.ts';
import { official, timm } from '../preprocessing.ts';
import { convertCheckpoint } from '../save.ts';
import { fromTimmConfig, toTimmConfig } from '../timmConfig.ts';

/** A reader of untrusted bytes, and valid bytes to start from. */
export interface Target {
  readonly name: string;
  readonly inputs: fc.Arbitrary<Uint8Array>;
  /** Must return, or throw a `PvtError`. */
  readonly run: (bytes: Uint8Array) => void;
}

/**
 * One byte set, one bit flipped, bytes cut out, copied elsewhere, or all after an offset dropped; offsets
 * are taken modulo the length.
 */
type Mutation = readonly [kind: number, offset: number, value: number];

const mutations = fc.array(fc.tuple(fc.nat(5), fc.nat(0xffff_ffff), fc.nat(255)), {
  minLength: 0,
  maxLength: 6,
});

function mutate(bytes: Uint8Array, changes: readonly Mutation[]): Uint8Array {
  let result: Uint8Array = bytes.slice();
  for (const [kind, offset, value] of changes) {
    if (result.length === 0) break;
    const at = offset % result.length;
    if (kind === 0) result[at] = value;
    else if (kind === 1) result[at]! ^= 1 << (value % 8);
    else if (kind === 2) result = value < 200 ? result : result.subarray(0, at);
    else if (kind === 3)
      result.set(result.slice(at, at + (value % 16)), (at * 7) % Math.max(1, result.length - 16));
    else if (kind === 4) result = concat(result.subarray(0, at), Uint8Array.of(value), result.subarray(at));
    else result = concat(result.subarray(0, at), result.subarray(at + 1 + (value % 4)));
  }
  return result;
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const mutated = (valid: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> =>
  fc.tuple(fc.constantFrom(...valid), mutations).map(([bytes, changes]) => mutate(bytes, changes));

/** The smallest PVT that has one of everything. */
const config = pvtConfig({
  version: 'v2',
  dims: [1, 2, 5, 8],
  depths: [1, 1, 1, 1],
  mlpRatios: [1, 1, 1, 1],
  reductions: [2, 1, 1, 1],
  classes: 2,
});
const source = randomInit(1);
const state: StateDict = new Map(
  Array.from(leavesOf(checkpointSpec(config)), ([path, leaf]) => [
    path,
    { shape: leaf.shape, values: source.values(path, leaf) },
  ]),
);
const named = fromCanonical(state, 'official', config);

/** Whatever can be read is also asked for all that it can tell. */
function readAll(bytes: Uint8Array): void {
  const checkpoint = readCheckpoint(bytes);
  for (const { shape, values } of checkpoint.tensors.values()) {
    if (values.length !== sizeOf(shape)) throw new Error(`${values.length} values for [${shape}]`);
  }
  if (checkpoint.nonFinite.length === 0 && checkpoint.state.size < 200)
    convertCheckpoint(checkpoint, { to: 'canonical', unexpected: 'drop' });
}

const text = (content: string): Uint8Array => new TextEncoder().encode(content);
const header = (json: string, data: number, length = text(json).length): Uint8Array => {
  const bytes = new Uint8Array(8 + text(json).length + data);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text(json), 8);
  return bytes;
};
const oddNumbers = fc.oneof(
  fc.nat(64),
  fc.integer(),
  fc.double(),
  fc.constantFrom(-1, 0, 2 ** 31, 2 ** 53, 1e308),
);
const entries = fc.dictionary(
  fc.oneof(
    fc.constantFrom(
      'a',
      'b',
      '__metasize_',
      '__proto__',
      'head.weight',
      'norm1.weight',
      'patch_embed1.proj.weight',
    ),
    fc.string(),
  ),
  fc.oneof(
    fc.record({
      dtype: fc.constantFrom('F32', 'F16', 'I64', 'BOOL', 'F8_E4M3', 'X'),
      shape: fc.array(oddNumbers, { maxLength: 4 }),
      sizeoffsets: fc.array(fc.oneof(fc.nat(64), oddNumbers), { maxLength: 3 }),
    }),
    fc.jsonValue({ maxDepth: 3 }),
  ),
  { maxKeys: 5 },
);
const safetensorsFiles = [
  writeSafetensors(Array.from(named, ([name, { shape, values }]) => [name, fromFloat32(values, shape)])),
  writeSafetensors(
    [
      ['norm1.weight', fromFloat32([1, 2], [2], 'F16')],
      ['head.bias', fromFloat32([1], [1], 'I64')],
      ['none', fromFloat32([], [0])],
    ],
    { format: 'pt' },
  ),
];

/** Opcodes that the machine knows, and some that it must not; operands follow at random. */
const opcodes = fc
  .constantFrom(
    ...'(01NK\x4dJX\x55C]}){uestaR\x81bQ.qrhjlc2\x85\x86\x87\x88\x89\x8a',
    ...'\x8c\x93\x94\x95\x8f\x90GoiIFSV\x82\x97\x92',
    ...'((}}]]uuttRRhhqq',
  )
  .map((character) => character.charCodeAt(0));
const operands = fc.oneof(
  fc.constant<readonly number[]>([]),
  fc.array(fc.nat(255), { maxLength: 8 }),
  fc
    .constantFrom(
      'ctorch\nFloatStorage\n',
      'ctorch._utils\n_rebuild_tensor_v2\n',
      'ccollections\nOrderedDict\n',
      'cargparse\nNamespace\n',
      'cos\nsystem\n',
      'ctorch._utils\n_rebuild_tensor_v3\n',
      'X\x05\0\0\0model',
      'X\x07\0\0\0storage',
      'K\x04',
    )
    .map((snippet) => [...snippet].map((character) => character.charCodeAt(0))),
);
const programs = fc
  .array(fc.tuple(opcodes, operands), { maxLength: 40 })
  .map((steps) =>
    Uint8Array.from([0x80, 2, ...steps.flatMap(([opcode, operand]) => [opcode, ...operand]), 0x2e]),
  );
const small: Value = new Map<string, Value>([
  [
    'state_dict',
    new Map([
      ['module.norm1.weight', tensor(storage('0', 4), [2, 2], { strides: [1, 2] })],
      ['head.bias', tensor(storage('0', 4), [2], { offset: 2 })],
    ]),
  ],
  ['epoch', 3],
  ['lr', [0.5, null, true, 'x']],
]);
const held = { 0: [1, 2, 3, 4] };
const torchState: Value = new Map(
  Array.from(named, ([name, { shape, values }]) => [name, tensor(storage(name, values.length), shape)]),
);
const torchStorages = Object.fromEntries(
  Array.from(named, ([name, { values }]) => [name, Array.from(values)]),
);
const data = new Uint8Array(Float32Array.from([1, 2, 3, 4]).buffer);
/** With the right CRC, so that the pickle inside is what is tried. */
const archived = (program: Uint8Array): Uint8Array =>
  zip([
    { name: 'a/data.pkl', bytes: program },
    { name: 'a/data/0', bytes: data },
  ]);
const streamed = (program: Uint8Array): Uint8Array =>
  concat(
    pickled(magic),
    pickled(1001),
    pickled(new Map<string, Value>([['little_endian', true]])),
    program,
    pickled(['0']),
    Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0),
    data,
  );
const statePickles = [pickled(small), pickled(torchState)];

const plainV2 = toHuggingFaceConfig({ ...config, classes: 2 }, { layerNormEps: 1e-6, labels: ['a', 'b'] });
const configs = [
  plainV2,
  toTimmConfig(config, timm, ['a', 'b']),
  toPreprocessorConfig(official),
  { metadata: { total_size: 4 }, weight_map: { a: 'one.safetensors', b: 'two.safetensors' } },
];
const replaced = fc
  .tuple(
    fc.constantFrom(...configs),
    fc.array(
      fc.tuple(fc.nat(30), fc.oneof(fc.jsonValue({ maxDepth: 3 }), oddNumbers, fc.array(oddNumbers))),
      { maxLength: 4 },
    ),
  )
  .map(([valid, changes]) => {
    const copy: Record<string, unknown> = { ...valid };
    for (const [which, value] of changes) {
      const keys = Object.keys(copy);
      copy[keys[which % keys.length]!] = value;
    }
    return text(JSON.stringify(copy));
  });
/** Runs a step that may refuse, so that the next is tried as well. */
const tolerating = (step: () => unknown): void => {
  try {
    step();
  } catch (error) {
    if (!(error instanceof PvtError)) throw error;
  }
};

export const targets: readonly Target[] = [
  {
    name: 'safetensors',
    inputs: fc.oneof(
      mutated(safetensorsFiles),
      entries.map((json) => header(JSON.stringify(json), 64)),
      fc.tuple(fc.json(), fc.nat(40), fc.nat(200)).map(([json, size, length]) => header(json, size, length)),
      fc.uint8Array({ maxLength: 64 }),
    ),
    run: readAll,
  },
  {
    name: 'torch zip',
    inputs: fc.oneof(
      programs.map(archived),
      fc
        .tuple(fc.constantFrom(...statePickles), mutations)
        .map(([bytes, changes]) => archived(mutate(bytes, changes))),
      mutated([
        torchZip(small, held),
        torchZip(small, held, [], { large: true }),
        torchZip(torchState, torchStorages),
        zip([
          { name: 'a/data.pkl', bytes: pickled(small), deflate: true },
          { name: 'a/data/0', bytes: data, deflate: true },
        ]),
      ]),
    ),
    run: readAll,
  },
  {
    name: 'torch legacy',
    inputs: fc.oneof(
      programs.map(streamed),
      fc
        .tuple(fc.constantFrom(...statePickles), mutations)
        .map(([bytes, changes]) => streamed(mutate(bytes, changes))),
      mutated([torchLegacy(small, held), torchLegacy(torchState, torchStorages)]),
    ),
    run: readAll,
  },
  {
    name: 'config',
    inputs: fc.oneof(
      replaced,
      mutated(configs.map((json) => text(JSON.stringify(json)))),
      fc.json().map(text),
    ),
    run(bytes) {
      const json = parseConfig('config.json', bytes);
      for (const read of [fromHuggingFaceConfig, fromTimmConfig, fromPreprocessorConfig, labelsOf])
        tolerating(() => read(json));
      tolerating(() => parseShardIndex('index.json', bytes));
    },
  },
];

/**
 * Tries one input; throws if it is neither read nor refused by an error of ours.
 *
 * @returns milliseconds of the processor: those of the clock pass while others have it, too
 */
export function tryOne({ name, run }: Target, bytes: Uint8Array): number {
  const start = process.cpuUsage();
  try {
    run(bytes);
  } catch (error) {
    if (!(error instanceof PvtError))
      throw new Error(
        `${name}: an error that is not ours for ${Buffer.from(bytes).toString('base64').slice(0, 4000)}`,
        { cause: error },
      );
    if (error.message.length > 2000)
      throw new Error(`${name}: a message of ${error.message.length} characters`, { cause: error });
  }
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}
