import { readFileSync } from 'node:fs';
import { CheckpointError } from '@pvt/core';
import { describe, expect, it } from 'vitest';
import { readTensorFile } from '../detect.ts';
import { fromBytes, readSync, readFrom, type ReadableFile } from '../readableFile.ts';
import { toFloat32 } from '../safetensors.ts';
import { entryOf, type TensorFile } from '../tensorFile.ts';
import expected from './fixtures/tensors.json';
import {
  global,
  pickled,
  Raw,
  reduce,
  storage,
  tensor,
  torchLegacy,
  torchZip,
  zip,
  type Value,
} from './fixtures/writer.ts';
import { crc32 } from './zip.ts';

const fixture = (name: string) => new Uint8Array(readFileSync(new URL(`fixtures/${name}`, import.meta.url)));
const open = (bytes: Uint8Array): TensorFile =>
  readSync(fromBytes('it', bytes), readTensorFile(bytes.length));

/** Every tensor of a file, its storage read and checked. */
function valuesOf(bytes: Uint8Array): Record<string, { shape: readonly number[]; values: number[] }> {
  const file = fromBytes('it', bytes);
  const { tensors } = open(bytes);
  return Object.fromEntries(
    Array.from(tensors, ([name, stored]) => [
      name,
      {
        shape: stored.shape,
        values: Array.from(toFloat32(entryOf(stored, readSync(file, stored.storage.read())))),
      },
    ]),
  );
}

const rounded = Object.fromEntries(
  Object.entries(expected).map(([name, { shape, values }]) => [
    name,
    { shape, values: values.map(Math.fround) },
  ]),
);
const inModule = Object.fromEntries(
  Object.entries(rounded).map(([name, value]) => [`module.${name}`, value]),
);

describe('files that torch wrote', () => {
  it.each([
    ['zip.pth', 'torch-zip', rounded],
    ['legacy.pth', 'torch-legacy', rounded],
    ['training.pth', 'torch-zip', inModule],
    ['protocol4.pth', 'torch-zip', inModule],
    ['legacy_protocol4.pth', 'torch-legacy', inModule],
  ] as const)('%s: shared, strided, empty, of every dtype', (name, format, tensors) => {
    const bytes = fixture(name);
    expect(open(bytes).format).toBe(format);
    expect(valuesOf(bytes)).toEqual(tensors);
  });

  it('leave the optimizer and the arguments closed', () => {
    expect(open(fixture('training.pth')).skipped).toEqual([
      'optimizer',
      'epoch',
      'args',
      'best',
      'palette',
      'huge',
      'names',
    ]);
  });

  it('are read by ranges, storages that nobody asks for never', async () => {
    const bytes = fixture('training.pth');
    const ranges: [number, number][] = [];
    const file: ReadableFile = {
      name: 'it',
      size: bytes.length,
      read: async (begin, end) => (ranges.push([begin, end]), bytes.slice(begin, end)),
    };
    const { tensors } = await readFrom(file, readTensorFile(file.size));
    const before = ranges.length;
    const whole = tensors.get('module.whole')!;
    expect(toFloat32(entryOf(whole, await readFrom(file, whole.storage.read())))[0]).toBe(-1);
    expect(ranges.slice(before).map(([begin, end]) => end - begin)).toEqual([
      30 + 'training/data/0'.length,
      96,
    ]);
  });

  it('fail where the file changes underneath', async () => {
    const bytes = fixture('zip.pth');
    const file: ReadableFile = {
      name: 'it',
      size: bytes.length,
      read: async (begin, end) => bytes.slice(begin, end - 1),
    };
    await expect(readFrom(file, readTensorFile(file.size))).rejects.toThrow(
      expect.objectContaining({ code: 'file-changed' }),
    );
  });

  it('stop when they are told to', async () => {
    const reason = new Error('enough');
    await expect(
      readFrom(fromBytes('it', fixture('zip.pth')), readTensorFile(4000), AbortSignal.abort(reason)),
    ).rejects.toBe(reason);
  });
});

const state = (...entries: [string, Value][]): Value => new Map(entries);
const one = storage('0', 4);
const good = state(['w', tensor(one, [4])]);
const data = { 0: [1, 2, 3, 4] };

describe('unusual but whole', () => {
  it.each<[string, Uint8Array]>([
    [
      'deflated records',
      zip([
        { name: 'a/data.pkl', bytes: pickled(good), deflate: true },
        { name: 'a/data/0', bytes: new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer), deflate: true },
      ]),
    ],
    ['zip64 sizes', torchZip(good, data, [], { large: true })],
    ['a comment', torchZip(good, data, [], { comment: 'PK\x05\x06 hello' })],
    [
      'a byte order',
      torchZip(good, data, [{ name: 'archive/byteorder', bytes: new TextEncoder().encode('little') }]),
    ],
    [
      'the old builder of tensors',
      torchZip(state(['w', reduce(global('torch._utils', '_rebuild_tensor'), [one, 0, [4], [1]])]), data),
    ],
    [
      'untyped storages',
      torchZip(
        state([
          'w',
          reduce(global('torch._utils', '_rebuild_tensor_v3'), [
            storage('0', 16, 'UntypedStorage'),
            0,
            [4],
            [1],
            false,
            null,
            global('torch', 'float32'),
          ]),
        ]),
        data,
      ),
    ],
    ['a wrapped wrapper', torchZip(state(['state_dict', state(['model', good])], ['model', 1]), data)],
    ['a stray number', torchZip(state(['w', tensor(one, [4])], ['steps', 5]), data)],
    ['a legacy stream', torchLegacy(good, data)],
  ])('%s', (_what, bytes) => {
    expect(valuesOf(bytes)).toEqual({ w: { shape: [4], values: [1, 2, 3, 4] } });
  });

  it('reads only what lies in a pickle beyond the first piece of a stream', () => {
    const many = new Map(
      Array.from({ length: 3000 }, (_, i) => [`name.${i}`, tensor(one, [1], { offset: i % 4 })]),
    );
    const bytes = torchLegacy(many, data);
    expect(bytes.length).toBeGreaterThan(200_000);
    expect(valuesOf(bytes)['name.2999']).toEqual({ shape: [1], values: [4] });
  });

  it('never lets a name reach a prototype', () => {
    const names = Object.keys(valuesOf(torchZip(state(['constructor', tensor(one, [4])]), data)));
    expect([
      ...open(torchZip(state(['__proto__', tensor(one, [4])]), data)).tensors.keys(),
      ...names,
    ]).toEqual(['__proto__', 'constructor']);
    expect(Object.hasOwn(Object.prototype, 'shape')).toBe(false);
  });
});

const pickleOf = (...parts: (number | string)[]): Uint8Array =>
  zip([{ name: 'a/data.pkl', bytes: Uint8Array.from(new Raw(...parts).bytes) }]);
const record = (name: string, values = 1) => ({ name, bytes: new Uint8Array(4 * values) });
const whole = torchZip(good, data);
const stretch = (bytes: number[], times: number): number[] =>
  Array.from({ length: times }, () => bytes).flat();
const repeated = (bytes: number[], times: number, ...end: number[]): Uint8Array =>
  zip([{ name: 'a/data.pkl', bytes: Uint8Array.from([0x80, 2, ...stretch(bytes, times), ...end]) }]);

const malformed: [what: string, code: string, bytes: Uint8Array][] = [
  // Archives.
  ['half an archive', 'zip-cut', whole.subarray(0, whole.length / 2)],
  ['an archive without its last byte', 'zip-cut', whole.subarray(0, -1)],
  [
    'a hundred bytes lost in the middle',
    'zip-directory-outside',
    Uint8Array.from([...whole.subarray(0, 4), ...whole.subarray(104)]),
  ],
  ['more records than there are', 'zip-directory', torchZip(good, data, [], { count: 9 })],
  ['fewer records than there are', 'zip-directory', torchZip(good, data, [], { count: 2 })],
  ['a name that climbs out', 'zip-name', zip([record('../../etc/data.pkl')])],
  ['an absolute name', 'zip-name', zip([record('/etc/data.pkl')])],
  ['a name with a backslash', 'zip-name', zip([record('a\\..\\data.pkl')])],
  ['a name twice', 'zip-duplicate', zip([record('a/data.pkl'), record('a/data.pkl')])],
  [
    'records in the same place',
    'zip-overlap',
    zip([record('a/b', 9), { ...record('a/c', 9), claims: { begin: 3 } }]),
  ],
  [
    'a record beyond the directory',
    'zip-record-outside',
    zip([{ ...record('a/data.pkl'), claims: { begin: 4000 } }]),
  ],
  ['an encrypted record', 'zip-encrypted', zip([{ ...record('a/data.pkl'), claims: { flags: 9 } }])],
  ['an unknown method', 'zip-method', zip([{ ...record('a/data.pkl'), claims: { method: 12 } }])],
  ['a stored record of two sizes', 'zip-size', zip([{ ...record('a/data.pkl'), claims: { size: 9 } }])],
  [
    'another name in front of the bytes',
    'zip-header',
    zip([{ name: 'a/data.pkl', bytes: pickled(good), claims: { localName: 'a/data.pkx' } }]),
  ],
  [
    'a wrong CRC of the pickle',
    'zip-crc',
    zip([{ name: 'a/data.pkl', bytes: pickled(good), claims: { crc: 1 } }]),
  ],
  [
    'a wrong CRC of a storage',
    'zip-crc',
    zip([
      { name: 'a/data.pkl', bytes: pickled(good) },
      { ...record('a/data/0', 4), claims: { crc: 1 } },
    ]),
  ],
  [
    'a bomb',
    'zip-bomb',
    zip([
      { name: 'a/data.pkl', bytes: pickled(good) },
      { name: 'a/data/0', bytes: new Uint8Array(20_000_000), deflate: true },
    ]),
  ],
  [
    'a bomb that says it is small',
    'zip-bomb',
    zip([{ name: 'a/data.pkl', bytes: new Uint8Array(2_000_000), deflate: true, claims: { size: 100 } }]),
  ],
  [
    'a deflated record that is shorter',
    'zip-deflate',
    zip([{ name: 'a/data.pkl', bytes: pickled(good), deflate: true, claims: { size: 5000 } }]),
  ],
  [
    'deflated bytes that are none',
    'zip-deflate',
    zip([{ name: 'a/data.pkl', bytes: Uint8Array.of(255, 255, 255), claims: { method: 8 } }]),
  ],
  ['an empty archive', 'file-empty-zip', zip([])],
  ['no data.pkl', 'torch-no-pickle', zip([record('a/b')])],
  ['two of them', 'torch-no-pickle', zip([record('a/data.pkl'), record('b/data.pkl')])],
  ['a TorchScript program', 'torch-script', fixture('script.pt')],
  [
    'big-endian values',
    'torch-big-endian',
    torchZip(good, data, [{ name: 'archive/byteorder', bytes: new TextEncoder().encode('bigend') }]),
  ],
  ['a pickle too large', 'torch-pickle-large', zip([record('a/data.pkl', 4_200_000)])],
  // Storages and tensors.
  ['a storage without a record', 'torch-storage-missing', torchZip(good, {})],
  ['a short storage', 'torch-storage-size', torchZip(good, { 0: [1, 2, 3] })],
  [
    'a storage of two sizes',
    'torch-storage',
    torchZip(state(['a', tensor(one, [4])], ['b', tensor(storage('0', 3), [3])]), data),
  ],
  [
    'a storage of a negative size',
    'torch-number',
    torchZip(state(['a', tensor(storage('0', -1), [0])]), data),
  ],
  ['an offset outside', 'torch-outside', torchZip(state(['a', tensor(one, [1], { offset: 4 })]), data)],
  ['a shape outside', 'torch-outside', torchZip(state(['a', tensor(one, [5])]), data)],
  [
    'strides outside',
    'torch-outside',
    torchZip(state(['a', tensor(one, [2, 2], { strides: [3, 1] })]), data),
  ],
  ['negative strides', 'torch-number', torchZip(state(['a', tensor(one, [2], { strides: [-1] })]), data)],
  [
    'as many strides as it likes',
    'torch-strides',
    torchZip(state(['a', tensor(one, [2], { strides: [1, 1] })]), data),
  ],
  [
    'a fractional size',
    'torch-number',
    torchZip(state(['a', tensor(one, [2], { strides: [new Raw('G', 0x3f, 0xf8, 0, 0, 0, 0, 0, 0)] })]), data),
  ],
  [
    'one value repeated a billion times',
    'torch-expanded',
    torchZip(state(['a', tensor(one, [1_000_000_000], { strides: [0] })]), data),
  ],
  [
    'seventeen axes',
    'torch-number',
    torchZip(state(['a', tensor(one, new Array<number>(17).fill(1))]), data),
  ],
  [
    'the same large view again and again',
    'torch-too-large',
    torchZip(new Map(Array.from({ length: 1200 }, (_, i) => [`w${i}`, tensor(storage('0', 5000), [5000])])), {
      0: new Uint8Array(20_000),
    }),
  ],
  ['a tensor of a list', 'torch-storage', torchZip(state(['a', tensor([], [0])]), data)],
  [
    'a parameter of a number',
    'torch-arguments',
    torchZip(state(['a', reduce(global('torch._utils', '_rebuild_parameter'), [1, true, null])]), data),
  ],
  ['a reference to nothing', 'torch-storage', torchZip(new Raw(0x4b, 1, 'Q'), data)],
  ['no state dict', 'torch-no-state', torchZip(state(['lr', 1]), {})],
  ['a model that is whole', 'torch-no-state', torchZip([1, 2], {})],
  // Pickles.
  ['os.system', 'pickle-global-refused', fixture('os_system.pth')],
  ['subprocess', 'pickle-global-refused', fixture('subprocess.pth')],
  ['os.system, told by the stack', 'pickle-global-refused', fixture('stack_global.pth')],
  ['a module to build', 'pickle-global-refused', fixture('build_foreign.pth')],
  ['eval', 'pickle-global-refused', pickleOf(0x80, 2, 'c__builtin__\neval\n')],
  ['a name out of the prototype', 'pickle-global-refused', pickleOf(0x80, 2, 'ctorch\nconstructor\n')],
  [
    'a torch function that runs code',
    'pickle-global-refused',
    pickleOf(0x80, 2, 'ctorch.serialization\nload\n'),
  ],
  ['a pickle without an end', 'pickle-cut', fixture('no_stop.pth')],
  ['an empty stack', 'pickle-underflow', fixture('stack_underflow.pth')],
  ['a tensor outside of its storage', 'torch-outside', fixture('offset_outside.pth')],
  ['a record shorter than it claims', 'torch-storage-size', fixture('storage_short.pth')],
  ['a path that climbs out', 'zip-name', fixture('path_traversal.pth')],
  ['a marker that nobody set', 'pickle-no-mark', pickleOf(0x80, 2, 't.')],
  ['open marks without end', 'pickle-too-deep', repeated([0x28], 2000)],
  ['containers without end', 'pickle-too-many', repeated([0x5d, 0x30], 300_000)],
  ['operations without end', 'pickle-too-long', repeated([0x4e, 0x30], 600_000)],
  ['a memory of nothing', 'pickle-memo', pickleOf(0x80, 2, 'h', 7, '.')],
  ['a text longer than the pickle', 'pickle-cut', pickleOf(0x80, 2, 'X', 100, 0, 0, 0, 'abc')],
  ['a text of two gigabytes', 'pickle-text-long', pickleOf(0x80, 2, 'X', 0, 0, 0, 127, 'abc')],
  ['a text of 2^64 bytes', 'pickle-length', pickleOf(0x80, 4, 0x8d, 255, 255, 255, 255, 255, 255, 255, 255)],
  ['a frame longer than the pickle', 'pickle-cut', pickleOf(0x80, 4, 0x95, 100, 0, 0, 0, 0, 0, 0, 0, '.')],
  ['an integer of 200 bytes', 'pickle-integer-long', pickleOf(0x80, 2, 0x8a, 200, ...stretch([1], 200))],
  ['texts that are no UTF-8', 'pickle-not-utf8', pickleOf(0x80, 2, 'X', 1, 0, 0, 0, 255, '.')],
  ['a global with a name without end', 'pickle-name-long', pickleOf(0x80, 2, 'c', 'a'.repeat(600))],
  ['protocol 0', 'pickle-opcode', pickleOf('(lp0\n.')],
  ['protocol 9', 'pickle-protocol', pickleOf(0x80, 9, '.')],
  ['an extension', 'pickle-opcode', pickleOf(0x80, 2, 0x82, 1, '.')],
  ['an instance of a class', 'pickle-opcode', pickleOf(0x80, 2, '(ios\nsystem\n.')],
  ['an out-of-band buffer', 'pickle-opcode', pickleOf(0x80, 5, 0x97, '.')],
  ['a number that is called', 'pickle-not-callable', pickleOf(0x80, 2, 'K', 1, ')R.')],
  ['a storage type that is called', 'pickle-not-callable', pickleOf(0x80, 2, 'ctorch\nFloatStorage\n)R.')],
  ['arguments that are no tuple', 'pickle-arguments', pickleOf(0x80, 2, 'ccollections\nOrderedDict\nNR.')],
  ['attributes put on a tensor type', 'pickle-build', pickleOf(0x80, 2, 'ctorch\nFloatStorage\n}b.')],
  ['a list as a dictionary', 'pickle-not-dictionary', pickleOf(0x80, 2, ']NNs.')],
  ['a dictionary as a list', 'pickle-not-list', pickleOf(0x80, 2, '}Na.')],
  ['a list for a key', 'pickle-key', pickleOf(0x80, 2, '}]Ns.')],
  ['keys without values', 'pickle-pairs', pickleOf(0x80, 2, '}(Nu.')],
  ['two values at the end', 'pickle-leftover', pickleOf(0x80, 2, 'NN.')],
  // Streams.
  ['a pickle of plain data', 'torch-magic', fixture('plain_pickle.pth')],
  ['a stream of another version', 'torch-version', torchLegacy(good, data, { version: 1002 })],
  ['a big-endian stream', 'torch-big-endian', torchLegacy(good, data, { littleEndian: false })],
  ['a stream without a storage', 'torch-storage-missing', torchLegacy(good, {})],
  ['a stream with an unknown storage', 'torch-storage-unknown', torchLegacy(good, data, { keys: ['1'] })],
  ['a stream with a storage twice', 'torch-storage-unknown', torchLegacy(good, data, { keys: ['0', '0'] })],
  ['a stream whose storage says another size', 'torch-storage-size', torchLegacy(good, data, { count: 5 })],
  ['half a stream', 'torch-cut', torchLegacy(good, data).subarray(0, -5)],
  ['a stream cut off in its pickle', 'pickle-cut', torchLegacy(good, data).subarray(0, 120)],
  ['a stream that calls os.system', 'pickle-global-refused', torchLegacy(global('posix', 'system'), {})],
  [
    'a stream that calls it before its magic number',
    'pickle-global-refused',
    torchLegacy(good, data, { head: global('posix', 'system') }),
  ],
];

describe('a broken or hostile file', () => {
  it.each(malformed)('%s', (_what, code, bytes) => {
    const start = performance.now();
    const error = (() => {
      try {
        return valuesOf(bytes);
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as CheckpointError).code).toBe(code);
    expect((error as CheckpointError).message.length).toBeLessThan(400);
    expect(performance.now() - start).toBeLessThan(2000);
  });
});

describe('a file that is none', () => {
  const text = (content: string) => new TextEncoder().encode(content);
  it.each<[string, string, Uint8Array]>([
    ['empty', 'file-empty', new Uint8Array(0)],
    ['a web page', 'file-html', text('\ufeff <!DOCTYPE html><html lang="en">')],
    ['a web page without a doctype', 'file-html', text('<html><body>404</body></html>')],
    ['an answer in XML', 'file-xml', text('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>')],
    [
      'a Git LFS pointer',
      'file-lfs-pointer',
      text('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 14700000\n'),
    ],
    ['JSON', 'file-json', text('{"error":"Repository not found"}')],
    ['an index of shards', 'file-shard-index', text('{"metadata":{},"weight_map":{"a":"b"}}')],
    ['a plain text', 'file-text', text('Entry not found')],
    ['gzip', 'file-gzip', Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0)],
    ['zstd', 'file-packed', Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0)],
    [
      'tar',
      'file-tar',
      Uint8Array.from({ length: 1024 }, (_, i) => (i < 4 ? 0x61 : 'ustar'.charCodeAt(i - 257) || 0)),
    ],
    ['HDF5', 'file-hdf5', Uint8Array.of(0x89, 0x48, 0x44, 0x46, 13, 10, 26, 10)],
    ['ONNX', 'file-onnx', Uint8Array.of(8, 7, 18, 7, 112, 121, 116, 111, 114, 99, 104)],
    ['GGUF', 'file-gguf', text('GGUF\x03\0\0\0\0')],
    ['seven bytes', 'safetensors-short', new Uint8Array(7)],
    ['noise', 'safetensors-header-unsafe', new Uint8Array(64).fill(0xfe)],
    [
      'half a safetensors header',
      'safetensors-header-cut',
      Uint8Array.from([100, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x22]),
    ],
  ])('%s', (_what, code, bytes) => {
    expect(() => open(bytes)).toThrow(expect.objectContaining({ code }));
  });
});

it('computes the check value of CRC-32', () => {
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  expect(crc32(new Uint8Array(0))).toBe(0);
});
