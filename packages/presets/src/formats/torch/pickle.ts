import { CheckpointError } from '@pvt/core';

/** Far above what a training checkpoint of the largest PVT needs (150,000 opcodes), and harmless. */
const limits = { opcodes: 1_000_000, containers: 250_000, depth: 1_000, text: 4_194_304, long: 64 } as const;

/** A global that the caller allows. Without `call`, it is only a name. */
export class PickleGlobal {
  readonly name: string;
  /** Returns a stand-in for the object that Python would create by calling it. */
  readonly call: ((args: readonly unknown[]) => unknown) | undefined;

  constructor(name: string, call?: (args: readonly unknown[]) => unknown) {
    this.name = name;
    this.call = call;
  }
}

/** What a pickle may refer to. Everything else is refused as soon as it is named. */
export interface PickleWorld {
  /** The global `module.name`, or undefined if it is not allowed. */
  global(name: string): PickleGlobal | undefined;
  /** A stand-in for an object that lies outside the pickle. */
  persistent(id: unknown): unknown;
}

/** An object whose content is ignored: arguments, numpy scalars. */
export class Opaque {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

const fail = (
  problem: string,
  expected: string,
  got: string,
  remedy = 'the file is broken, download it again',
): never => {
  throw new CheckpointError(`pickle-${problem}`, `pickle: expected ${expected}, got ${got}; ${remedy}.`);
};

/**
 * Whether a pickle continues beyond the bytes at hand, which for a stream only means that more are needed.
 */
export const isCut = (error: unknown): boolean =>
  error instanceof CheckpointError && error.code === 'pickle-cut';

const cutRemedy = 'the file is cut off, download it again';

const latin1 = /* @__PURE__ */ new TextDecoder('latin1');
const utf8 = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

type Key = string | number | bigint | boolean | null;
const isKey = (value: unknown): value is Key =>
  value === null || ['string', 'number', 'bigint', 'boolean'].includes(typeof value);

/**
 * Runs a pickle's program on inert values: dictionaries become Maps, lists and tuples arrays, and only what
 * `world` allows is ever called. A global that it does not allow ends the reading where it is named, before
 * anything is created from it.
 *
 * @returns the value, and the offset of the pickle's end
 * @throws CheckpointError with a code for each way in which a pickle can be broken
 */
export function unpickle(
  bytes: Uint8Array,
  begin: number,
  world: PickleWorld,
): { readonly value: unknown; readonly end: number } {
  const machine = new PickleMachine(bytes, begin, world);
  for (let count = 0; ; count++) {
    if (count > limits.opcodes)
      fail('too-long', `at most ${limits.opcodes} operations`, 'more', 'this is no state dict');
    const opcode = machine.u1();
    if (opcode === stop) return machine.stop();
    const operation = operations[opcode];
    if (operation === undefined)
      return fail(
        'opcode',
        'an operation that a state dict needs',
        `0x${opcode.toString(16).padStart(2, '0')} at byte ${machine.at - 1}`,
        'do not trust this file',
      );
    operation(machine);
  }
}

/** The bytes of a pickle, and the stack and memo that its operations work on. */
class PickleMachine {
  readonly world: PickleWorld;
  readonly memo = new Map<number, unknown>();
  at: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** The stacks below each open mark. */
  readonly #marked: unknown[][] = [];
  #stack: unknown[] = [];
  #containers = 0;

  constructor(bytes: Uint8Array, begin: number, world: PickleWorld) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = begin;
    this.world = world;
  }

  /** Steps over bytes, and returns the offset of the first. */
  skip(count: number): number {
    const from = this.at;
    const left = this.#bytes.length - this.at;
    if (count > left) fail('cut', `${count} more bytes`, `${left}`, cutRemedy);
    this.at += count;
    return from;
  }

  u1(): number {
    return this.#bytes[this.skip(1)]!;
  }

  u2(): number {
    return this.#view.getUint16(this.skip(2), true);
  }

  u4(): number {
    return this.#view.getUint32(this.skip(4), true);
  }

  u8(): number {
    const value = this.#view.getBigUint64(this.skip(8), true);
    return value <= Number.MAX_SAFE_INTEGER
      ? Number(value)
      : fail('length', 'a length below 2^53', `${value}`);
  }

  i4(): number {
    return this.#view.getInt32(this.skip(4), true);
  }

  f8(): number {
    return this.#view.getFloat64(this.skip(8));
  }

  raw(length: number): Uint8Array {
    if (length > limits.text)
      fail('text-long', `texts of at most ${limits.text} bytes`, `one of ${length}`, 'this is no state dict');
    const from = this.skip(length);
    return this.#bytes.subarray(from, this.at);
  }

  latin1(length: number): string {
    return latin1.decode(this.raw(length));
  }

  text(length: number): string {
    try {
      return utf8.decode(this.raw(length));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw new CheckpointError(
        'pickle-not-utf8',
        'pickle: expected texts in UTF-8, got other bytes; the file is broken, download it again.',
        {},
        { cause: error },
      );
    }
  }

  line(): string {
    const end = this.#bytes.subarray(this.at, this.at + 256).indexOf(10);
    if (end < 0 && this.#bytes.length - this.at < 256)
      return fail('cut', 'the end of a line', 'the end of the bytes', cutRemedy);
    if (end < 0)
      return fail('name-long', 'a name of at most 255 bytes', 'a longer one', 'do not trust this file');
    const from = this.skip(end + 1);
    return latin1.decode(this.#bytes.subarray(from, this.at - 1));
  }

  integer(length: number): number | bigint {
    if (length > limits.long) {
      const expected = `integers of at most ${limits.long} bytes`;
      fail('integer-long', expected, `one of ${length}`, 'do not trust this file');
    }
    const digits = this.raw(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(digits[i]!);
    if (length > 0) value = BigInt.asIntN(8 * length, value);
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  }

  push(value: unknown): void {
    this.#stack.push(value);
  }

  pop(): unknown {
    return this.#stack.length > 0 ? this.#stack.pop() : fail('underflow', 'a value on the stack', 'none');
  }

  top(): unknown {
    return this.#stack.length > 0 ? this.#stack.at(-1) : fail('underflow', 'a value on the stack', 'none');
  }

  popMany(count: number): unknown[] {
    const { length } = this.#stack;
    if (length < count) fail('underflow', `${count} values on the stack`, `${length}`);
    return this.#stack.splice(length - count, count);
  }

  mark(): void {
    if (this.#marked.length >= limits.depth)
      fail('too-deep', `at most ${limits.depth} open marks`, 'more', 'this is no state dict');
    this.#marked.push(this.#stack);
    this.#stack = [];
  }

  /** Removes the last mark and the values above it, and returns them. */
  popMarked(): unknown[] {
    const values = this.#stack;
    this.#stack = this.#marked.pop() ?? fail('no-mark', 'a mark on the stack', 'none');
    return values;
  }

  discard(): void {
    if (this.#stack.length > 0) this.#stack.pop();
    else this.popMarked();
  }

  pushContainer(container: unknown): void {
    if (++this.#containers > limits.containers)
      fail('too-many', `at most ${limits.containers} containers`, 'more', 'this is no state dict');
    this.push(container);
  }

  appendAll(values: readonly unknown[]): void {
    const list = this.top();
    if (list instanceof Opaque) return;
    if (!Array.isArray(list)) return fail('not-list', 'a list to append to', describe(list));
    for (const value of values) list.push(value);
  }

  setAll(pairs: readonly unknown[]): void {
    const dictionary = this.top();
    if (pairs.length % 2 !== 0) fail('pairs', 'keys and values in pairs', `${pairs.length} values`);
    if (dictionary instanceof Opaque) return;
    if (!(dictionary instanceof Map))
      return fail('not-dictionary', 'a dictionary to put items into', describe(dictionary));
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i];
      if (!isKey(key)) return fail('key', 'texts and numbers for keys', describe(key));
      dictionary.set(key, pairs[i + 1]);
    }
  }

  addItems(): void {
    this.popMarked();
    if (!(this.top() instanceof Opaque)) fail('not-set', 'a set to add to', describe(this.top()));
  }

  memoize(index: number): void {
    this.memo.set(index, this.top());
  }

  recall(index: number): void {
    if (!this.memo.has(index)) fail('memo', `a value remembered as ${index}`, 'none');
    this.push(this.memo.get(index));
  }

  pushGlobal(name: string): void {
    const found =
      this.world.global(name) ??
      fail(
        'global-refused',
        'nothing but tensors and plain data',
        `the global ${JSON.stringify(name)}, which could run code`,
        'if you trust the file, save its state dict alone: torch.save(model.state_dict(), path)',
      );
    this.push(found);
  }

  pushGlobalOfStack(): void {
    const name = this.pop();
    const module = this.pop();
    if (typeof name !== 'string' || typeof module !== 'string') {
      const got = `${describe(module)} and ${describe(name)}`;
      return fail('global-name', 'texts that name a global', got);
    }
    this.pushGlobal(`${module}.${name}`);
  }

  call(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!Array.isArray(args)) return fail('arguments', 'a tuple of arguments', describe(args));
    if (!(callee instanceof PickleGlobal) || callee.call === undefined) {
      const expected = 'a function that rebuilds tensors';
      return fail('not-callable', expected, describe(callee), 'do not trust this file');
    }
    this.pushContainer(callee.call(args));
  }

  /** An OrderedDict gets torch's `_metadata` of modules this way, which says nothing about parameters. */
  build(): void {
    const state = this.pop();
    const object = this.top();
    if (!(object instanceof Opaque || object instanceof Map))
      fail('build', 'plain data to fill', describe(object), 'do not trust this file');
    if (object instanceof Map && !(state instanceof Map))
      fail('build', 'attributes in a dictionary', describe(state), 'do not trust this file');
  }

  checkProtocol(): void {
    const protocol = this.#bytes[this.at]!;
    if (protocol < 2 || protocol > 5)
      fail('protocol', 'protocol 2 to 5', `${protocol}`, 'save the checkpoint again');
    this.skip(1);
  }

  checkFrame(): void {
    const length = this.u8();
    const left = this.#bytes.length - this.at;
    if (length > left) fail('cut', `a frame of ${length} bytes`, `${left}`, cutRemedy);
  }

  stop(): { readonly value: unknown; readonly end: number } {
    const value = this.pop();
    if (this.#stack.length > 0 || this.#marked.length > 0) fail('leftover', 'one value at the end', 'more');
    return { value, end: this.at };
  }
}

const stop = 0x2e;

/** The operations of protocols 2 to 5 that a state dict needs, by opcode (CPython's `Lib/pickletools.py`). */
const operations: Readonly<Record<number, (machine: PickleMachine) => void>> = {
  // PROTO, FRAME, MARK, POP, POP_MARK, DUP
  0x80: (machine) => machine.checkProtocol(),
  0x95: (machine) => machine.checkFrame(),
  0x28: (machine) => machine.mark(),
  0x30: (machine) => machine.discard(),
  0x31: (machine) => void machine.popMarked(),
  0x32: (machine) => machine.push(machine.top()),
  // NONE, NEWTRUE, NEWFALSE, BININT, BININT1, BININT2, LONG1, BINFLOAT
  0x4e: (machine) => machine.push(null),
  0x88: (machine) => machine.push(true),
  0x89: (machine) => machine.push(false),
  0x4a: (machine) => machine.push(machine.i4()),
  0x4b: (machine) => machine.push(machine.u1()),
  0x4d: (machine) => machine.push(machine.u2()),
  0x8a: (machine) => machine.push(machine.integer(machine.u1())),
  0x47: (machine) => machine.push(machine.f8()),
  // SHORT_BINSTRING, BINSTRING, SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
  0x55: (machine) => machine.push(machine.latin1(machine.u1())),
  0x54: (machine) => machine.push(machine.latin1(machine.u4())),
  0x8c: (machine) => machine.push(machine.text(machine.u1())),
  0x58: (machine) => machine.push(machine.text(machine.u4())),
  0x8d: (machine) => machine.push(machine.text(machine.u8())),
  // SHORT_BINBYTES, BINBYTES
  0x43: (machine) => pushBytes(machine, machine.u1()),
  0x42: (machine) => pushBytes(machine, machine.u4()),
  // EMPTY_LIST, EMPTY_TUPLE, EMPTY_DICT, EMPTY_SET
  0x5d: (machine) => machine.pushContainer([]),
  0x29: (machine) => machine.pushContainer([]),
  0x7d: (machine) => machine.pushContainer(new Map<Key, unknown>()),
  0x8f: (machine) => machine.pushContainer(new Opaque('set')),
  // ADDITEMS, APPEND, APPENDS, SETITEM, SETITEMS
  0x90: (machine) => machine.addItems(),
  0x61: (machine) => machine.appendAll([machine.pop()]),
  0x65: (machine) => machine.appendAll(machine.popMarked()),
  0x73: (machine) => machine.setAll(machine.popMany(2)),
  0x75: (machine) => machine.setAll(machine.popMarked()),
  // TUPLE, LIST, TUPLE1, TUPLE2, TUPLE3
  0x74: (machine) => machine.pushContainer(machine.popMarked()),
  0x6c: (machine) => machine.pushContainer(machine.popMarked()),
  0x85: (machine) => machine.pushContainer(machine.popMany(1)),
  0x86: (machine) => machine.pushContainer(machine.popMany(2)),
  0x87: (machine) => machine.pushContainer(machine.popMany(3)),
  // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
  0x71: (machine) => machine.memoize(machine.u1()),
  0x72: (machine) => machine.memoize(machine.u4()),
  0x94: (machine) => machine.memoize(machine.memo.size),
  0x68: (machine) => machine.recall(machine.u1()),
  0x6a: (machine) => machine.recall(machine.u4()),
  // GLOBAL, STACK_GLOBAL, REDUCE, NEWOBJ, BUILD, BINPERSID
  0x63: (machine) => machine.pushGlobal(`${machine.line()}.${machine.line()}`),
  0x93: (machine) => machine.pushGlobalOfStack(),
  0x52: (machine) => machine.call(),
  0x81: (machine) => machine.call(),
  0x62: (machine) => machine.build(),
  0x51: (machine) => machine.push(machine.world.persistent(machine.pop())),
};

function pushBytes(machine: PickleMachine, length: number): void {
  machine.raw(length);
  machine.push(new Opaque('bytes'));
}

/** A short description of a value, without its content, which may refer to itself. */
export function describe(value: unknown): string {
  if (value === null) return 'None';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Map) return `a dictionary of ${value.size}`;
  if (value instanceof Opaque || value instanceof PickleGlobal) return value.name.slice(0, 80);
  if (typeof value === 'object') return 'a tensor or a storage';
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : `${value as number}`.slice(0, 60);
}
