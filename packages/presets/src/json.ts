/** A value read from JSON. Objects are Maps, so that no name in a file can reach a prototype. */
export type Json = null | boolean | number | string | readonly Json[] | ReadonlyMap<string, Json>;

/** Why a text was refused, for the caller to say in its own words. */
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
 * Reads JSON strictly: a key that occurs twice is an error, which `JSON.parse` would hide, and so are more members in
 * one object or array than `maxMembers` and more than 32 levels.
 *
 * @throws JsonError
 */
export function parseJson(text: string, maxMembers: number): Json {
  let at = 0;

  const fail = (): never => {
    throw new JsonError(
      'syntax',
      at < text.length
        ? `an unexpected ${JSON.stringify(text[at])} at character ${at}`
        : 'an end in the middle',
    );
  };
  const match = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const [found] = pattern.exec(text) ?? fail();
    at += found.length;
    return found;
  };
  const skipBlanks = (): void => {
    while (at < text.length && blanks.includes(text[at]!)) at++;
  };
  /** Steps over a punctuation mark and the blanks around it, if it is next. */
  const next = (mark: string): boolean => {
    skipBlanks();
    if (text[at] !== mark) return false;
    at++;
    skipBlanks();
    return true;
  };
  const list = (close: string, member: () => void): void => {
    if (next(close)) return;
    let count = 0;
    do {
      if (++count > maxMembers) throw new JsonError('members', `more than ${maxMembers} members`);
      member();
    } while (next(','));
    if (!next(close)) fail();
  };

  function string(): string {
    if (text[at] !== '"') fail();
    const start = at++;
    for (; text[at] !== '"'; at++) {
      if (text[at] === '\\') at++;
      // False at the end of the text too, where charCodeAt is NaN.
      if (!(text.charCodeAt(at) >= 0x20)) fail();
    }
    const raw = text.slice(start, ++at);
    try {
      return JSON.parse(raw) as string;
    } catch (error) {
      throw new JsonError('syntax', `the string ${raw.slice(0, 40)}: ${(error as SyntaxError).message}`);
    }
  }

  function value(depth: number): Json {
    if (depth > 32) throw new JsonError('depth', 'more than 32 levels');
    if (next('{')) {
      const object = new Map<string, Json>();
      list('}', () => {
        const key = string();
        if (object.has(key)) throw new JsonError('duplicate', key);
        if (!next(':')) fail();
        object.set(key, value(depth + 1));
      });
      return object;
    }
    if (next('[')) {
      const array: Json[] = [];
      list(']', () => void array.push(value(depth + 1)));
      return array;
    }
    if (text[at] === '"') return string();
    for (const word of ['true', 'false', 'null'] as const) {
      if (!text.startsWith(word, at)) continue;
      at += word.length;
      return literals[word];
    }
    return Number(match(number));
  }

  const result = value(0);
  skipBlanks();
  return at === text.length ? result : fail();
}
