import { CheckpointError } from '@pvt/core';

/** Far above what a training checkpoint of the largest PVT needs (150,000 opcodes), far below what hurts. */
const limits = { opcodes: 1_000_000, containers: 250_000, depth: 1_000, text: 4_194_304, long: 64 } as const;

/** A global that the caller allows. Without `call` it is only a name. */
export class PickleGlobal {
  readonly name: string;
  /** What stands for the object that Python would make by calling it. */
  readonly call: ((args: readonly unknown[]) => unknown) | undefined;

  constructor(name: string, call?: (args: readonly unknown[]) => unknown) {
    this.name = name;
    this.call = call;
  }
}

/** What a pickle may refer to. Everything else is refused where it is named. */
export interface PickleWorld {
  /** The global `module.name`, or undefined where it is not allowed. */
  global(name: string): PickleGlobal | undefined;
  /** What stands for an object that lies outside of the pickle. */
  persistent(id: unknown): unknown;
}

/** An object whose content means nothing to us: arguments, numpy scalars. */
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

/** Thrown where a pickle goes on beyond the bytes at hand, which for a stream only means that more are needed. */
export const isCut = (error: unknown): boolean =>
  error instanceof CheckpointError && error.code === 'pickle-cut';

const latin1 = /* @__PURE__ */ new TextDecoder('latin1');
const utf8 = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

type Key = string | number | bigint | boolean | null;
const isKey = (value: unknown): value is Key =>
  value === null || ['string', 'number', 'bigint', 'boolean'].includes(typeof value);

/**
 * Runs a pickle's program on inert values: dictionaries become Maps, lists and tuples arrays, and only what `world`
 * allows is ever called. A global that it does not allow ends the reading where it is named, before anything is made of it.
 *
 * @returns the value, and where the pickle ends
 * @throws CheckpointError with a code for each way in which a pickle can be broken
 */
export function unpickle(
  bytes: Uint8Array,
  begin: number,
  world: PickleWorld,
): { readonly value: unknown; readonly end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const memo = new Map<number, unknown>();
  const marked: unknown[][] = [];
  let stack: unknown[] = [];
  let at = begin;
  let containers = 0;

  const take = (count: number): number => {
    const from = at;
    if (count > bytes.length - at)
      fail('cut', `${count} more bytes`, `${bytes.length - at}`, 'the file is cut off, download it again');
    at += count;
    return from;
  };
  const u1 = () => bytes[take(1)]!;
  const u2 = () => view.getUint16(take(2), true);
  const u4 = () => view.getUint32(take(4), true);
  const u8 = (): number => {
    const value = view.getBigUint64(take(8), true);
    return value <= Number.MAX_SAFE_INTEGER
      ? Number(value)
      : fail('length', 'a length below 2^53', `${value}`);
  };
  const raw = (length: number): Uint8Array => {
    if (length > limits.text)
      fail('text-long', `texts of at most ${limits.text} bytes`, `one of ${length}`, 'this is no state dict');
    const from = take(length);
    return bytes.subarray(from, at);
  };
  const text = (length: number): string => {
    try {
      return utf8.decode(raw(length));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw new CheckpointError(
        'pickle-not-utf8',
        'pickle: expected texts in UTF-8, got bytes that are none; the file is broken, download it again.',
        {},
        { cause: error },
      );
    }
  };
  const line = (): string => {
    const end = bytes.subarray(at, at + 256).indexOf(10);
    if (end < 0)
      return bytes.length - at < 256
        ? fail('cut', 'the end of a line', 'the end of the bytes', 'the file is cut off, download it again')
        : fail('name-long', 'a name of at most 255 bytes', 'a longer one', 'do not trust this file');
    const from = take(end + 1);
    return latin1.decode(bytes.subarray(from, at - 1));
  };
  const integer = (length: number): number | bigint => {
    if (length > limits.long)
      fail(
        'integer-long',
        `integers of at most ${limits.long} bytes`,
        `one of ${length}`,
        'do not trust this file',
      );
    const digits = raw(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(digits[i]!);
    if (length > 0) value = BigInt.asIntN(8 * length, value);
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  };
  // A function, so that the stack is looked up after the value: a mark swaps it.
  const push = (value: unknown): void => void stack.push(value);
  const pop = (): unknown =>
    stack.length > 0 ? stack.pop() : fail('underflow', 'a value on the stack', 'none');
  const top = (): unknown =>
    stack.length > 0 ? stack.at(-1) : fail('underflow', 'a value on the stack', 'none');
  const made = <T>(container: T): T =>
    ++containers > limits.containers
      ? fail('too-many', `at most ${limits.containers} containers`, 'more', 'this is no state dict')
      : container;
  /** The values above the last mark, which goes. */
  const popMarked = (): unknown[] => {
    const values = stack;
    stack = marked.pop() ?? fail('no-mark', 'a mark on the stack', 'none');
    return values;
  };
  const popped = (count: number): unknown[] => {
    if (stack.length < count) fail('underflow', `${count} values on the stack`, `${stack.length}`);
    return stack.splice(stack.length - count, count);
  };
  const appendAll = (values: readonly unknown[]): void => {
    const list = top();
    if (list instanceof Opaque) return;
    if (!Array.isArray(list)) return fail('not-list', 'a list to append to', describe(list));
    for (const value of values) list.push(value);
  };
  const setAll = (pairs: readonly unknown[]): void => {
    const dictionary = top();
    if (pairs.length % 2 !== 0) fail('pairs', 'keys and values in pairs', `${pairs.length} values`);
    if (dictionary instanceof Opaque) return;
    if (!(dictionary instanceof Map))
      return fail('not-dictionary', 'a dictionary to put items into', describe(dictionary));
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i];
      if (!isKey(key)) return fail('key', 'texts and numbers for keys', describe(key));
      dictionary.set(key, pairs[i + 1]);
    }
  };
  const find = (name: string): PickleGlobal =>
    world.global(name) ??
    fail(
      'global-refused',
      'nothing but tensors and plain data',
      `the global ${JSON.stringify(name)}, which could run code`,
      'if you trust the file, save its state dict alone: torch.save(model.state_dict(), path)',
    );
  const call = (): void => {
    const args = pop();
    const callee = pop();
    if (!Array.isArray(args)) return fail('arguments', 'a tuple of arguments', describe(args));
    if (!(callee instanceof PickleGlobal) || callee.call === undefined)
      return fail(
        'not-callable',
        'a function that rebuilds tensors',
        describe(callee),
        'do not trust this file',
      );
    push(made(callee.call(args)));
  };
  const put = (index: number): void => void memo.set(index, top());
  const get = (index: number): void => {
    if (!memo.has(index)) fail('memo', `a value remembered as ${index}`, 'none');
    push(memo.get(index));
  };

  for (let count = 0; ; count++) {
    if (count > limits.opcodes)
      fail('too-long', `at most ${limits.opcodes} operations`, 'more', 'this is no state dict');
    const opcode = u1();
    switch (opcode) {
      case 0x80: // PROTO
        if (bytes[at]! < 2 || bytes[at]! > 5)
          fail('protocol', 'protocol 2 to 5', `${bytes[at]}`, 'save the checkpoint again');
        take(1);
        break;
      case 0x95: {
        // FRAME
        const length = u8();
        if (length > bytes.length - at)
          fail(
            'cut',
            `a frame of ${length} bytes`,
            `${bytes.length - at}`,
            'the file is cut off, download it again',
          );
        break;
      }
      case 0x2e: {
        // STOP
        const value = pop();
        if (stack.length > 0 || marked.length > 0) fail('leftover', 'one value at the end', 'more');
        return { value, end: at };
      }
      case 0x28: // MARK
        if (marked.length >= limits.depth)
          fail('too-deep', `at most ${limits.depth} open marks`, 'more', 'this is no state dict');
        marked.push(stack);
        stack = [];
        break;
      case 0x30: // POP
        if (stack.length > 0) stack.pop();
        else popMarked();
        break;
      case 0x31: // POP_MARK
        popMarked();
        break;
      case 0x32: // DUP
        push(top());
        break;
      case 0x4e: // NONE
        push(null);
        break;
      case 0x88: // NEWTRUE
        push(true);
        break;
      case 0x89: // NEWFALSE
        push(false);
        break;
      case 0x4a: // BININT
        push(view.getInt32(take(4), true));
        break;
      case 0x4b: // BININT1
        push(u1());
        break;
      case 0x4d: // BININT2
        push(u2());
        break;
      case 0x8a: // LONG1
        push(integer(u1()));
        break;
      case 0x47: // BINFLOAT
        push(view.getFloat64(take(8)));
        break;
      case 0x55: // SHORT_BINSTRING
        push(latin1.decode(raw(u1())));
        break;
      case 0x54: // BINSTRING
        push(latin1.decode(raw(u4())));
        break;
      case 0x8c: // SHORT_BINUNICODE
        push(text(u1()));
        break;
      case 0x58: // BINUNICODE
        push(text(u4()));
        break;
      case 0x8d: // BINUNICODE8
        push(text(u8()));
        break;
      case 0x43: // SHORT_BINBYTES
        raw(u1());
        push(new Opaque('bytes'));
        break;
      case 0x42: // BINBYTES
        raw(u4());
        push(new Opaque('bytes'));
        break;
      case 0x5d: // EMPTY_LIST
      case 0x29: // EMPTY_TUPLE
        push(made([]));
        break;
      case 0x7d: // EMPTY_DICT
        push(made(new Map<Key, unknown>()));
        break;
      case 0x8f: // EMPTY_SET
        push(made(new Opaque('set')));
        break;
      case 0x90: // ADDITEMS
        popMarked();
        if (!(top() instanceof Opaque)) fail('not-set', 'a set to add to', describe(top()));
        break;
      case 0x61: {
        // APPEND
        const value = pop();
        appendAll([value]);
        break;
      }
      case 0x65: // APPENDS
        appendAll(popMarked());
        break;
      case 0x73: // SETITEM
        setAll(popped(2));
        break;
      case 0x75: // SETITEMS
        setAll(popMarked());
        break;
      case 0x74: // TUPLE
        push(made(popMarked()));
        break;
      case 0x6c: // LIST
        push(made(popMarked()));
        break;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        push(made(popped(opcode - 0x84)));
        break;
      case 0x71: // BINPUT
        put(u1());
        break;
      case 0x72: // LONG_BINPUT
        put(u4());
        break;
      case 0x94: // MEMOIZE
        put(memo.size);
        break;
      case 0x68: // BINGET
        get(u1());
        break;
      case 0x6a: // LONG_BINGET
        get(u4());
        break;
      case 0x63: // GLOBAL
        push(find(`${line()}.${line()}`));
        break;
      case 0x93: {
        // STACK_GLOBAL
        const name = pop();
        const module = pop();
        if (typeof name !== 'string' || typeof module !== 'string')
          return fail('global-name', 'texts that name a global', `${describe(module)} and ${describe(name)}`);
        push(find(`${module}.${name}`));
        break;
      }
      case 0x52: // REDUCE
      case 0x81: // NEWOBJ
        call();
        break;
      case 0x62: {
        // BUILD
        const state = pop();
        const object = top();
        // An OrderedDict gets torch's `_metadata` of modules this way, which says nothing about parameters.
        if (!(object instanceof Opaque || object instanceof Map))
          fail('build', 'plain data to fill', describe(object), 'do not trust this file');
        if (object instanceof Map && !(state instanceof Map))
          fail('build', 'attributes in a dictionary', describe(state), 'do not trust this file');
        break;
      }
      case 0x51: // BINPERSID
        push(world.persistent(pop()));
        break;
      default:
        fail(
          'opcode',
          'an operation that a state dict needs',
          `0x${opcode.toString(16).padStart(2, '0')} at byte ${at - 1}`,
          'do not trust this file',
        );
    }
  }
}

/** What a value is, in few words; never its content, which may refer to itself. */
export function describe(value: unknown): string {
  if (value === null) return 'None';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Map) return `a dictionary of ${value.size}`;
  if (value instanceof Opaque || value instanceof PickleGlobal) return value.name.slice(0, 80);
  if (typeof value === 'object') return 'a tensor or a storage';
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : `${value as number}`.slice(0, 60);
}
