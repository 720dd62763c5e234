import { openCheckpoint } from '../folder.ts';
import { fromBytes, type ReadableFile } from '../formats/readableFile.ts';
import type { Checkpoint, ReadOptions } from '../load.ts';
import { matches } from '../text.ts';
import { forgiving, fromBlob, noCache, type CacheEntry, type FileCache } from './cache.ts';
import type { Hash } from './digest.ts';
import { download, type RemoteFile } from './download.ts';
import type { Warn } from './errors.ts';
import { hubFiles } from './hub.ts';
import { trackProgress, type LoadProgress } from './progress.ts';
import { parseReference, parseUrl } from './reference.ts';
import { defaultRetries, over, type Network, type Retries } from './request.ts';

/**
 * Where a checkpoint is: its bytes, a File or Blob, a URL, or a text: the name of a published checkpoint, a repository
 * on the hub as `owner/repo` or `owner/repo@revision`, a URL, in Node also the path of a file or folder.
 */
export type CheckpointReference = string | URL | Blob | ArrayBuffer | Uint8Array;

export interface FetchOptions {
  readonly signal?: AbortSignal;
  /** Told at most ten times a second, and always at the end. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /** What did not stop the load: no cache, a full one, a damaged file in it. `console.warn` by default. */
  readonly onWarning?: Warn;
  /** The file wanted of a repository or folder that holds several. */
  readonly file?: string;
  /** SHA-256 that a file at a URL must have, in hexadecimal. */
  readonly sha256?: string;
  /** Takes everything from the cache and asks no server; `HF_HUB_OFFLINE` in Node by default. */
  readonly offline?: boolean;
  /** Where files are kept, or false for nowhere; the browser's Cache API or the folder of `defaultCacheFolder` by default. */
  readonly cache?: FileCache | false;
  /** The hub's address; `HF_ENDPOINT` in Node, and https://huggingface.co, by default. */
  readonly endpoint?: string;
  /** Token for the hub, sent to no other host; `HF_TOKEN` in Node by default. */
  readonly token?: string;
  /** In place of the global one, for a proxy or a test. */
  readonly fetch?: typeof fetch;
  readonly retries?: Partial<Retries>;
}

/** The files of a checkpoint by their names, or the one file there is. */
export type CheckpointFiles = ReadonlyMap<string, ReadableFile> | ReadableFile;

/** What differs between the browser and Node. */
export interface Platform {
  /** The cache where the caller names none. */
  readonly cache: () => FileCache | undefined;
  readonly hash: Hash;
  /** Defaults of the options, as the environment states them. */
  readonly defaults: () => Pick<FetchOptions, 'endpoint' | 'token' | 'offline'>;
  /** The file or folder that a text names, where there are any. */
  readonly openPath: (path: string, file: string | undefined) => Promise<CheckpointFiles | undefined>;
}

/** Makes the files of a checkpoint readable, wherever they are: the half of `loadCheckpoint` that knows a platform. */
export async function fetchFiles(
  reference: CheckpointReference,
  options: FetchOptions,
  platform: Platform,
): Promise<CheckpointFiles> {
  options.signal?.throwIfAborted();
  if (reference instanceof Blob)
    return fromBlob('name' in reference ? String(reference.name) : 'blob', reference);
  if (reference instanceof ArrayBuffer || reference instanceof Uint8Array)
    return fromBytes('bytes', reference);

  const {
    endpoint: hub = 'https://huggingface.co',
    token,
    offline = false,
  } = { ...platform.defaults(), ...options };
  const endpoint = hub.replace(/\/+$/, '');
  const local = await platform.openPath(reference instanceof URL ? reference.href : reference, options.file);
  if (local !== undefined) return local;
  const found =
    reference instanceof URL ? parseUrl(reference, endpoint) : parseReference(reference, endpoint);

  const { signal, onProgress, onWarning: warn = toConsole, fetch = globalThis.fetch } = options;
  const network: Network = {
    fetch,
    signal,
    endpoint,
    token,
    retries: { ...defaultRetries, ...options.retries },
  };
  const cache = forgiving(pickCache(options.cache, platform, warn), warn);
  const downloader = { network, cache, hash: platform.hash, offline, warn };

  if ('hub' in found) {
    const hubReference = { ...found.hub, ...(options.file !== undefined && { file: options.file }) };
    return fetchAll(await hubFiles(hubReference, { ...downloader, progress: trackProgress([], undefined) }));
  }
  const { url, sha256 = options.sha256 } = found;
  if (url.protocol === 'data:' || url.protocol === 'blob:')
    return fromBlob(
      url.href.slice(0, 40),
      await (await over(fetch(url, signal && { signal }), url.href, signal)).blob(),
    );
  const name = url.pathname.split('/').at(-1) || url.host;
  const files = await fetchAll([
    {
      name,
      url: url.href,
      ...(sha256 !== undefined && { digest: `sha256:${sha256.toLowerCase()}` as const }),
    },
  ]);
  return files.get(name)!;

  async function fetchAll(remotes: readonly RemoteFile[]): Promise<Map<string, ReadableFile>> {
    const progress = trackProgress(remotes, onProgress);
    const files = new Map<string, ReadableFile>();
    // One after the other: nearly all of the bytes are in one of them.
    for (const remote of remotes) files.set(remote.name, await download(remote, { ...downloader, progress }));
    progress.done();
    return files;
  }
}

// A warning that nobody asked for must still be seen.
// oxlint-disable-next-line no-console
const toConsole: Warn = ({ message }) => console.warn(message);

function pickCache(given: FileCache | false | undefined, platform: Platform, warn: Warn): FileCache {
  if (given === false) return noCache;
  const cache = given ?? platform.cache();
  if (cache !== undefined) return cache;
  warn({
    code: 'cache-unavailable',
    message:
      'loadCheckpoint: expected a cache, got a platform without one; serve the page over https, or in Node import @pvt/presets/node.',
  });
  return noCache;
}

/** `loadCheckpoint` and its kin for one platform; what each does is told where they are exported. */
export function createLoader(platform: Platform) {
  const fetchCheckpoint = (reference: CheckpointReference, options: FetchOptions = {}) =>
    fetchFiles(reference, options, platform);
  const loadCheckpoint = async (
    reference: CheckpointReference,
    options: LoadOptions = {},
  ): Promise<Checkpoint> => openCheckpoint(await fetchCheckpoint(reference, options), options);
  const listCache = async (pattern = '*', cache = platform.cache()): Promise<CacheEntry[]> =>
    ((await cache?.list()) ?? []).filter(({ url }) => matches(url, pattern));
  const clearCache = async (pattern = '*', cache = platform.cache()): Promise<CacheEntry[]> => {
    const entries = await listCache(pattern, cache);
    for (const url of new Set(entries.map((entry) => entry.url))) await cache!.remove(url);
    return entries;
  };
  return { loadCheckpoint, fetchCheckpoint, listCache, clearCache };
}

export type LoadOptions = FetchOptions & ReadOptions;
