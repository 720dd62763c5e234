import { openCheckpoint } from '../folder.ts';
import { fromBytes, type ReadableFile } from '../formats/readableFile.ts';
import type { Checkpoint, ReadOptions } from '../load.ts';
import { matches } from '../text.ts';
import { faultTolerant, fromBlob, noCache, type CacheEntry, type FileCache } from './cache.ts';
import type { Hash } from './digest.ts';
import { download, type Downloader, type RemoteFile } from './download.ts';
import type { Warn } from './errors.ts';
import { hubFiles } from './hub.ts';
import { trackProgress, type LoadProgress } from './progress.ts';
import { parseReference, parseUrl } from './reference.ts';
import { defaultRetries, over, type Network, type Retries } from './request.ts';

/**
 * Where a checkpoint is: its bytes, a File or Blob, a URL, or a string: the name of a published checkpoint, a
 * repository on the hub as `owner/repo` or `owner/repo@revision`, a URL, or in Node the path of a file or
 * folder.
 */
export type CheckpointReference = string | URL | Blob | ArrayBuffer | Uint8Array;

export interface FetchOptions {
  readonly signal?: AbortSignal;
  /** Called at most ten times a second, and always at the end. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /**
   * Called for what does not stop the load: no cache, a full one, a damaged file in it. Default:
   * `console.warn`.
   */
  readonly onWarning?: Warn;
  /** The file to load from a repository or folder that holds several. Default: its only checkpoint. */
  readonly file?: string;
  /** SHA-256 that a file at a URL must have, in hexadecimal. Default: not checked. */
  readonly sha256?: string;
  /** Loads from the cache only, without requests. Default: false, or in Node `HF_HUB_OFFLINE`. */
  readonly offline?: boolean;
  /**
   * Where files are cached; false for nowhere. Default: the Cache API, or in Node the folder of
   * `defaultCacheFolder`.
   */
  readonly cache?: FileCache | false;
  /** The hub's address. Default: https://huggingface.co, or in Node `HF_ENDPOINT`. */
  readonly endpoint?: string;
  /** Token for the hub, sent to no other host. Default: none, or in Node `HF_TOKEN`. */
  readonly token?: string;
  /** Replaces the global `fetch`, for a proxy or a test. */
  readonly fetch?: typeof fetch;
  readonly retries?: Partial<Retries>;
}

/** The files of a checkpoint by name, or its only file. */
export type CheckpointFiles = ReadonlyMap<string, ReadableFile> | ReadableFile;

/** What differs between the browser and Node. */
export interface Platform {
  /** The default cache. */
  readonly cache: () => FileCache | undefined;
  readonly hash: Hash;
  /** Defaults of options, from the environment. */
  readonly defaults: () => Pick<FetchOptions, 'endpoint' | 'token' | 'offline'>;
  /** The file or folder that a string is the path of, if there is one. */
  readonly openPath: (path: string, file: string | undefined) => Promise<CheckpointFiles | undefined>;
}

/** The files of a checkpoint, wherever they are. */
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
  const local = await platform.openPath(reference instanceof URL ? reference.href : reference, options.file);
  if (local !== undefined) return local;

  const downloader = downloaderFor(options, platform);
  const { endpoint } = downloader.network;
  const found =
    reference instanceof URL ? parseUrl(reference, endpoint) : parseReference(reference, endpoint);
  if ('hub' in found) {
    const { file = found.hub.file } = options;
    const remotes = await hubFiles({ ...found.hub, ...(file !== undefined && { file }) }, downloader);
    return downloadAll(remotes, downloader, options.onProgress);
  }
  const { url, sha256 = options.sha256 } = found;
  if (url.protocol === 'data:' || url.protocol === 'blob:') return fetchInMemory(url, downloader.network);
  const name = url.pathname.split('/').at(-1) || url.host;
  const digest = sha256 && (`sha256:${sha256.toLowerCase()}` as const);
  const remote: RemoteFile = { name, url: url.href, ...(digest && { digest }) };
  return (await downloadAll([remote], downloader, options.onProgress)).get(name)!;
}

function downloaderFor(options: FetchOptions, platform: Platform): Downloader {
  const {
    endpoint = 'https://huggingface.co',
    token,
    offline = false,
  } = { ...platform.defaults(), ...options };
  const { signal, onWarning: warn = toConsole, fetch = globalThis.fetch } = options;
  const retries = { ...defaultRetries, ...options.retries };
  return {
    network: { fetch, signal, endpoint: endpoint.replace(/\/+$/, ''), token, retries },
    cache: faultTolerant(pickCache(options.cache, platform, warn), warn),
    hash: platform.hash,
    offline,
    warn,
    progress: trackProgress([], undefined),
  };
}

async function downloadAll(
  remotes: readonly RemoteFile[],
  downloader: Downloader,
  onProgress: FetchOptions['onProgress'],
): Promise<ReadonlyMap<string, ReadableFile>> {
  const progress = trackProgress(remotes, onProgress);
  const files = new Map<string, ReadableFile>();
  // One after the other: nearly all of the bytes are in one of them.
  for (const remote of remotes) files.set(remote.name, await download(remote, { ...downloader, progress }));
  progress.done();
  return files;
}

/** A `data:` or `blob:` URL's content, which needs no cache. */
async function fetchInMemory(url: URL, { fetch, signal }: Network): Promise<ReadableFile> {
  const response = await over(fetch(url, signal && { signal }), url.href, signal);
  return fromBlob(url.href.slice(0, 40), await response.blob());
}

// A warning without a handler must still be seen.
// oxlint-disable-next-line no-console
const toConsole: Warn = ({ message }) => console.warn(message);

function pickCache(given: FileCache | false | undefined, platform: Platform, warn: Warn): FileCache {
  if (given === false) return noCache;
  const cache = given ?? platform.cache();
  if (cache !== undefined) return cache;
  warn({
    code: 'cache-unavailable',
    message:
      'loadCheckpoint: expected a cache, got a platform without one; ' +
      'serve the page over https, or give a cache (option cache).',
  });
  return noCache;
}

/** `loadCheckpoint` and the functions around it for one platform; `index.ts` documents them. */
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
