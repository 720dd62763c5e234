import type { ReadableFile } from '../formats/readableFile.ts';
import type { SourceWarning, Warn } from './errors.ts';

/** A file in the cache, whole or in part. */
export interface CacheEntry {
  /** Where it was downloaded from. */
  readonly url: string;
  /** Bytes. */
  readonly size: number;
  /** False for the beginning of an interrupted download, which the next download resumes. */
  readonly complete: boolean;
  readonly modified: Date;
}

/** A complete file in the cache; `file.size` is its size now, `size` the size that was stored. */
export interface StoredFile {
  readonly file: ReadableFile;
  readonly size: number;
  readonly sha256: string;
  /** Identifies the version of the file, see {@link Draft}. */
  readonly validator: string | undefined;
}

/**
 * A file on its way into the cache. Nobody else sees it before `commit`; `commit`, `suspend` or `discard`
 * must end it.
 */
export interface Draft extends ReadableFile {
  /** Version of the bytes: the digest that the hub states, a strong ETag, or the date of the last change. */
  readonly validator: string | undefined;
  append(bytes: Uint8Array): Promise<void>;
  /** Discards the bytes and begins another version. */
  restart(validator: string | undefined): Promise<void>;
  /**
   * Makes the file visible. The digest is undefined only on a platform without hashes, which has no cache
   * either.
   */
  commit(sha256: string | undefined): Promise<ReadableFile>;
  /** Stores the bytes for a later draft of the same URL. */
  suspend(): Promise<void>;
  discard(): Promise<void>;
}

/** A cache of files by URL. If one of its functions fails, loading goes on without it and warns. */
export interface FileCache {
  /** Where it is, for messages. */
  readonly name: string;
  find(url: string): Promise<StoredFile | undefined>;
  /** Resumes a suspended draft of the URL, if there is one. */
  draft(url: string, name: string): Promise<Draft>;
  list(): Promise<CacheEntry[]>;
  /** Removes everything of a URL, including drafts. */
  remove(url: string): Promise<void>;
}

/** A Blob as a file. */
export const fromBlob = (name: string, blob: Blob): ReadableFile => ({
  name,
  size: blob.size,
  read: async (begin, end) => new Uint8Array(await blob.slice(begin, end).arrayBuffer()),
});

/** A draft in memory. */
export class MemoryDraft implements Draft {
  readonly name: string;
  validator: string | undefined;
  #parts: BlobPart[] = [];
  #size = 0;

  constructor(name: string, validator?: string, start?: Blob) {
    this.name = name;
    this.validator = validator;
    if (start !== undefined) {
      this.#parts.push(start);
      this.#size = start.size;
    }
  }

  get size(): number {
    return this.#size;
  }

  /** Everything so far. Many parts are joined into one, so that reading it again is cheap. */
  get blob(): Blob {
    const blob =
      this.#parts.length === 1 && this.#parts[0] instanceof Blob ? this.#parts[0] : new Blob(this.#parts);
    this.#parts = [blob];
    return blob;
  }

  async read(begin: number, end: number): Promise<Uint8Array> {
    return fromBlob(this.name, this.blob).read(begin, end);
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#parts.push(bytes as Uint8Array<ArrayBuffer>);
    this.#size += bytes.length;
  }

  async restart(validator: string | undefined): Promise<void> {
    this.#parts = [];
    this.#size = 0;
    this.validator = validator;
  }

  async commit(_sha256: string | undefined): Promise<ReadableFile> {
    return fromBlob(this.name, this.blob);
  }

  async suspend(): Promise<void> {}

  async discard(): Promise<void> {
    await this.restart(undefined);
  }
}

/** A cache that stores nothing. */
export const noCache: FileCache = {
  name: 'nowhere',
  find: async () => undefined,
  draft: async (_url, name) => new MemoryDraft(name),
  list: async () => [],
  remove: async () => {},
};

const reasons: Readonly<Record<string, SourceWarning['code']>> = {
  QuotaExceededError: 'cache-full',
  ENOSPC: 'cache-full',
  EDQUOT: 'cache-full',
  EACCES: 'cache-readonly',
  EPERM: 'cache-readonly',
  EROFS: 'cache-readonly',
};

/** A cache whose failures do not stop a load; each kind is warned of once. */
export function faultTolerant(cache: FileCache, warn: Warn): FileCache {
  const warned = new Set<string>();
  const warnOnce = (cause: unknown): void => {
    const { code = '', name = '', message } = cause as Error & { readonly code?: string };
    const reason = reasons[code] ?? reasons[name] ?? 'cache-failed';
    if (warned.has(reason)) return;
    warned.add(reason);
    warn({
      code: reason,
      message:
        `loadCheckpoint: expected to use the cache in ${cache.name}, got ${message}; ` +
        'continuing without it.',
      cause,
    });
  };
  const attempt = async <T, U>(
    action: () => Promise<T>,
    otherwise: (cause: unknown) => Promise<U>,
  ): Promise<T | U> => {
    try {
      return await action();
    } catch (cause) {
      warnOnce(cause);
      return otherwise(cause);
    }
  };
  return {
    name: cache.name,
    find: (url) =>
      attempt(
        () => cache.find(url),
        async () => undefined,
      ),
    draft: async (url, name) =>
      new FaultTolerantDraft(
        await attempt(
          () => cache.draft(url, name),
          async () => new MemoryDraft(name),
        ),
        attempt,
      ),
    list: () => cache.list(),
    remove: (url) =>
      attempt(
        () => cache.remove(url),
        async () => {},
      ),
  };
}

type Attempt = <T, U>(action: () => Promise<T>, otherwise: (cause: unknown) => Promise<U>) => Promise<T | U>;

/** A draft that moves its bytes to memory if the cache fails. */
class FaultTolerantDraft implements Draft {
  #inner: Draft;
  readonly #attempt: Attempt;

  constructor(inner: Draft, attempt: Attempt) {
    this.#inner = inner;
    this.#attempt = attempt;
  }

  get name(): string {
    return this.#inner.name;
  }
  get size(): number {
    return this.#inner.size;
  }
  get validator(): string | undefined {
    return this.#inner.validator;
  }
  read(begin: number, end: number): Promise<Uint8Array> {
    return this.#inner.read(begin, end);
  }

  append(bytes: Uint8Array): Promise<void> {
    return this.#attempt(
      () => this.#inner.append(bytes),
      async () => (await this.#toTensorLayout()).append(bytes),
    );
  }
  restart(validator: string | undefined): Promise<void> {
    return this.#attempt(
      () => this.#inner.restart(validator),
      async () => {
        this.#inner = new MemoryDraft(this.name, validator);
      },
    );
  }
  commit(sha256: string | undefined): Promise<ReadableFile> {
    return this.#attempt(
      () => this.#inner.commit(sha256),
      async () => (await this.#toTensorLayout()).commit(sha256),
    );
  }
  suspend(): Promise<void> {
    return this.#attempt(
      () => this.#inner.suspend(),
      async () => {},
    );
  }
  discard(): Promise<void> {
    return this.#attempt(
      () => this.#inner.discard(),
      async () => {},
    );
  }

  async #toTensorLayout(): Promise<MemoryDraft> {
    const stored = this.#inner;
    const blob =
      stored instanceof MemoryDraft
        ? stored.blob
        : new Blob([(await stored.read(0, stored.size)) as Uint8Array<ArrayBuffer>]);
    const memory = new MemoryDraft(stored.name, stored.validator, blob);
    this.#inner = memory;
    await this.#attempt(
      () => stored.discard(),
      async () => {},
    );
    return memory;
  }
}
