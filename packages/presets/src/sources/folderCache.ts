import { createHash, randomUUID } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import {
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import { isAbsolute, join } from 'node:path';
import type { ReadableFile, SynchronousFile } from '../formats/readableFile.ts';
import { SourceError } from './errors.ts';
import type { CacheEntry, Draft, FileCache, StoredFile } from './cache.ts';

/** Describes a file: `entry.json` a complete one, `<id>.partial.json` a draft. */
interface Manifest {
  readonly url: string;
  readonly validator?: string | undefined;
  /** Name of the file with the content, in the same folder. */
  readonly data: string;
  readonly size?: number;
  readonly sha256?: string | undefined;
  /** The process that is writing; absent if the draft is suspended. */
  readonly owner?: { readonly host: string; readonly pid: number };
}

const entryName = 'entry.json';
const partialEnd = '.partial.json';
/** Milliseconds without growth after which another machine's draft is abandoned. */
const abandoned = 600_000;

const isAbsent = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';
/** The result, or undefined if the path does not exist. */
const orUndefined = <T>(work: Promise<T>): Promise<T | undefined> =>
  work.catch((error: unknown) => {
    if (isAbsent(error)) return undefined;
    throw error;
  });

/**
 * The platform's folder for cached files: `PVT_CACHE` if it is set, else `pvt` in `XDG_CACHE_HOME` or
 * `~/.cache` (Linux), `~/Library/Caches` (macOS) or `%LOCALAPPDATA%` (Windows).
 *
 * @example
 * console.log(defaultCacheFolder());
 */
export function defaultCacheFolder(
  environment: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  const { PVT_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = environment;
  if (PVT_CACHE) return PVT_CACHE;
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'pvt');
  if (platform === 'win32') return join(LOCALAPPDATA || join(homedir(), 'AppData', 'Local'), 'pvt', 'Cache');
  // By its specification, a relative XDG_CACHE_HOME is ignored.
  return join(
    XDG_CACHE_HOME && isAbsolute(XDG_CACHE_HOME) ? XDG_CACHE_HOME : join(homedir(), '.cache'),
    'pvt',
  );
}

/**
 * A cache in a folder that any number of processes may share without locks: each URL has its own folder, each
 * writer its own file in it, and a complete file appears by renaming, under its digest.
 */
export function folderCache(folder: string): FileCache {
  const folderOf = (url: string) => join(folder, createHash('sha256').update(url).digest('hex').slice(0, 32));
  return {
    name: folder,
    async find(url): Promise<StoredFile | undefined> {
      const record = await readRecord(join(folderOf(url), entryName));
      if (record === undefined) return undefined;
      const path = join(folderOf(url), record.data);
      const there = await orUndefined(stat(path));
      return (
        there && {
          file: fileAt(path, url, there.size),
          size: record.size!,
          sha256: record.sha256!,
          validator: record.validator,
        }
      );
    },
    async draft(url, name) {
      await mkdir(folderOf(url), { recursive: true });
      return (await FileDraft.resume(folderOf(url), url, name)) ?? FileDraft.create(folderOf(url), url, name);
    },
    async list() {
      const entries: CacheEntry[] = [];
      for (const key of (await orUndefined(readdir(folder))) ?? []) {
        for (const name of (await recordNames(join(folder, key))) ?? []) {
          const record = await readRecord(join(folder, key, name));
          const there = record && (await orUndefined(stat(join(folder, key, record.data))));
          if (there)
            entries.push({
              url: record.url,
              size: there.size,
              complete: name === entryName,
              modified: there.mtime,
            });
        }
      }
      return entries;
    },
    remove: (url) => rm(folderOf(url), { recursive: true, force: true }),
  };
}

/**
 * A file on disk. It is open only while synchronous code reads it, as `createPvt` does, so that a cache can
 * be cleared at any time.
 *
 * @param unchanged what the file must still be when it is opened. Default: its length only.
 */
export function fileAt(
  path: string,
  name: string,
  size: number,
  unchanged?: Pick<Stats, 'ino' | 'mtimeMs'>,
): SynchronousFile {
  let open: number | undefined;
  const close = (): void => {
    if (open !== undefined) closeSync(open);
    open = undefined;
  };
  const descriptor = (): number => {
    if (open !== undefined) return open;
    open = openSync(path, 'r');
    setImmediate(close);
    const now = fstatSync(open);
    if (
      now.size !== size ||
      (unchanged !== undefined && (now.ino !== unchanged.ino || now.mtimeMs !== unchanged.mtimeMs))
    )
      throw new Error('another file than when it was opened');
    return open;
  };
  const readNow = (begin: number, end: number, bytes = new Uint8Array(end - begin)): Uint8Array => {
    try {
      const file = descriptor();
      for (let at = 0; at < bytes.length;) {
        const count = readSync(file, bytes, at, bytes.length - at, begin + at);
        if (count === 0) throw new Error(`an end after ${begin + at} bytes`);
        at += count;
      }
    } catch (cause) {
      close();
      throw new SourceError(
        'source-unreadable',
        `loadCheckpoint: expected to read bytes ${begin} to ${end} of ${path}, ` +
          `got ${(cause as Error).message}; ` +
          'load it again, and check that nobody removes or changes it meanwhile.',
        { cause },
      );
    }
    return bytes;
  };
  return { name, size, readNow, read: async (begin, end) => readNow(begin, end) };
}

async function readRecord(path: string): Promise<Manifest | undefined> {
  const text = await orUndefined(readFile(path, 'utf8'));
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Manifest;
  } catch (error) {
    // Half a record: its writer is still writing, or died.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const recordNames = async (folder: string): Promise<string[] | undefined> =>
  (
    await readdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (isAbsent(error) || error.code === 'ENOTDIR') return undefined;
      throw error;
    })
  )?.filter((name) => name === entryName || name.endsWith(partialEnd));

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Drafts in a folder that no process is writing, the longest first. */
async function orphans(
  folder: string,
): Promise<{ readonly name: string; readonly record: Manifest; readonly size: number }[]> {
  const found = [];
  for (const name of (await recordNames(folder)) ?? []) {
    if (name === entryName) continue;
    const record = await readRecord(join(folder, name));
    const there = record && (await orUndefined(stat(join(folder, record.data))));
    if (!there) continue;
    const { owner } = record;
    const free =
      owner === undefined ||
      (owner.host === hostname() ? !alive(owner.pid) : Date.now() - there.mtimeMs > abandoned);
    if (free) found.push({ name, record, size: there.size });
  }
  return found.sort((a, b) => b.size - a.size);
}

class FileDraft implements Draft {
  readonly name: string;
  readonly #folder: string;
  readonly #id: string;
  #handle: FileHandle | undefined;
  #record: Manifest;
  #size: number;

  private constructor(
    name: string,
    folder: string,
    id: string,
    handle: FileHandle,
    record: Manifest,
    size: number,
  ) {
    this.name = name;
    this.#folder = folder;
    this.#id = id;
    this.#handle = handle;
    this.#record = record;
    this.#size = size;
  }

  static async create(folder: string, url: string, name: string): Promise<FileDraft> {
    const id = randomUUID();
    const handle = await open(join(folder, `${id}.part`), 'wx+');
    const draft = new FileDraft(name, folder, id, handle, { url, data: `${id}.part` }, 0);
    try {
      return await draft.#announce();
    } catch (error) {
      await draft.discard();
      throw error;
    }
  }

  /** Takes over the longest draft that no process is writing; whoever renames its record first gets it. */
  static async resume(folder: string, url: string, name: string): Promise<FileDraft | undefined> {
    for (const orphan of await orphans(folder)) {
      const id = randomUUID();
      const won = await orUndefined(
        rename(join(folder, orphan.name), join(folder, id + partialEnd)).then(() => true),
      );
      if (won === undefined) continue;
      const { validator, data } = orphan.record;
      const handle = await open(join(folder, data), 'r+');
      return new FileDraft(name, folder, id, handle, { url, validator, data }, orphan.size).#announce();
    }
    return undefined;
  }

  get size(): number {
    return this.#size;
  }

  get validator(): string | undefined {
    return this.#record.validator;
  }

  async read(begin: number, end: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(end - begin);
    for (let at = 0; at < bytes.length;) {
      const { bytesRead } = await this.#handle!.read(bytes, at, bytes.length - at, begin + at);
      if (bytesRead === 0) throw new Error(`an end of ${this.#record.data} after ${begin + at} bytes`);
      at += bytesRead;
    }
    return bytes;
  }

  async append(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;)
      at += (await this.#handle!.write(bytes, at, bytes.length - at, this.#size + at)).bytesWritten;
    this.#size += bytes.length;
  }

  async restart(validator: string | undefined): Promise<void> {
    await this.#handle!.truncate(0);
    this.#size = 0;
    this.#record = { ...this.#record, validator };
    await this.#announce();
  }

  async commit(sha256: string | undefined): Promise<ReadableFile> {
    const { url, validator, data: part } = this.#record;
    const before = await readRecord(this.#path(entryName));
    const data = `${sha256}.data`;
    await rename(this.#path(part), this.#path(data));
    this.#record = { ...this.#record, data };
    const fresh = this.#path(`${this.#id}.json`);
    await writeFile(
      fresh,
      JSON.stringify({ url, validator, data, size: this.#size, sha256 } satisfies Manifest),
    );
    await rename(fresh, this.#path(entryName));
    await this.#close();
    await rm(this.#path(this.#id + partialEnd), { force: true });
    if (before !== undefined && before.data !== data) await rm(this.#path(before.data), { force: true });
    for (const { name, record } of await orphans(this.#folder)) {
      await rm(this.#path(name), { force: true });
      if (record.data !== data) await rm(this.#path(record.data), { force: true });
    }
    return fileAt(this.#path(data), this.name, this.#size);
  }

  async suspend(): Promise<void> {
    const { owner: _, ...record } = this.#record;
    this.#record = record;
    await writeFile(this.#path(this.#id + partialEnd), JSON.stringify(record));
    await this.#close();
  }

  async discard(): Promise<void> {
    await this.#close();
    await rm(this.#path(this.#record.data), { force: true });
    await rm(this.#path(this.#id + partialEnd), { force: true });
  }

  async #announce(): Promise<this> {
    this.#record = { ...this.#record, owner: { host: hostname(), pid: process.pid } };
    await writeFile(this.#path(this.#id + partialEnd), JSON.stringify(this.#record));
    return this;
  }

  async #close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}
