/** What `JSON.parse` makes of an object. */
export type JsonObject = Readonly<Record<string, unknown>>;

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A value read from JSON. Objects are Maps, so that no name in a file can reach a prototype. */
export type Json = null | boolean | number | string | readonly Json[] | ReadonlyMap<string, Json>;

/** Why a text was refused; the caller words the message. */
export class JsonError extends Error {
  readonly kind: 'syntax' | 'duplicate' | 'members' | 'depth';

  constructor(kind: JsonError['kind'], detail: string) {
    super(detail);
    this.kind = kind;
  }
}

const blanks = ' \t\n\r';
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const literals = { true: true, false: false, null: null } as const;

/**
 * Reads JSON strictly: a key that occurs twice is an error, which `JSON.parse` would hide, and so are more
 * than `maxMembers` members in one object or array and more than 32 levels.
 *
 * @throws JsonError
 */
export const parseJson = (text: string, maxMembers: number): Json => new Parser(text, maxMembers).parse();

class Parser {
  readonly #text: string;
  readonly #maxMembers: number;
  #at = 0;

  constructor(text: string, maxMembers: number) {
    this.#text = text;
    this.#maxMembers = maxMembers;
  }

  parse(): Json {
    const value = this.#value(0);
    this.#skipBlanks();
    return this.#at === this.#text.length ? value : this.#fail();
  }

  #value(depth: number): Json {
    if (depth > 32) throw new JsonError('depth', 'more than 32 levels');
    if (this.#next('{')) return this.#object(depth);
    if (this.#next('[')) return this.#array(depth);
    if (this.#text[this.#at] === '"') return this.#string();
    for (const word of ['true', 'false', 'null'] as const) {
      if (!this.#text.startsWith(word, this.#at)) continue;
      this.#at += word.length;
      return literals[word];
    }
    return this.#number();
  }

  #object(depth: number): Json {
    const object = new Map<string, Json>();
    this.#members('}', () => {
      const key = this.#string();
      if (object.has(key)) throw new JsonError('duplicate', key);
      if (!this.#next(':')) this.#fail();
      object.set(key, this.#value(depth + 1));
    });
    return object;
  }

  #array(depth: number): Json {
    const array: Json[] = [];
    this.#members(']', () => void array.push(this.#value(depth + 1)));
    return array;
  }

  #members(close: string, member: () => void): void {
    if (this.#next(close)) return;
    let count = 0;
    do {
      if (++count > this.#maxMembers) throw new JsonError('members', `more than ${this.#maxMembers} members`);
      member();
    } while (this.#next(','));
    if (!this.#next(close)) this.#fail();
  }

  #string(): string {
    const text = this.#text;
    if (text[this.#at] !== '"') this.#fail();
    const start = this.#at++;
    for (; text[this.#at] !== '"'; this.#at++) {
      if (text[this.#at] === '\\') this.#at++;
      // False at the end of the text too, where charCodeAt is NaN.
      if (!(text.charCodeAt(this.#at) >= 0x20)) this.#fail();
    }
    const raw = text.slice(start, ++this.#at);
    try {
      return JSON.parse(raw) as string;
    } catch (error) {
      throw new JsonError('syntax', `the string ${raw.slice(0, 40)}: ${(error as SyntaxError).message}`);
    }
  }

  #number(): number {
    number.lastIndex = this.#at;
    const [found] = number.exec(this.#text) ?? this.#fail();
    this.#at += found.length;
    return Number(found);
  }

  /** Steps over a punctuation mark and the blanks around it, if it is next. */
  #next(mark: string): boolean {
    this.#skipBlanks();
    if (this.#text[this.#at] !== mark) return false;
    this.#at++;
    this.#skipBlanks();
    return true;
  }

  #skipBlanks(): void {
    while (this.#at < this.#text.length && blanks.includes(this.#text[this.#at]!)) this.#at++;
  }

  #fail(): never {
    const next = this.#text[this.#at];
    throw new JsonError(
      'syntax',
      next === undefined
        ? 'an end in the middle'
        : `an unexpected ${JSON.stringify(next)} at character ${this.#at}`,
    );
  }
}
