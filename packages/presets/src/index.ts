import { browserCache } from './sources/browserCache.ts';
import { webHash } from './sources/digest.ts';
import { createLoader } from './sources/load.ts';

export * from './shared.ts';

const loader = createLoader({
  cache: () => ('caches' in globalThis ? browserCache() : undefined),
  hash: webHash,
  defaults: () => ({}),
  openPath: async () => undefined,
});

/**
 * A checkpoint from anywhere: a published one by name, a repository on the hub, a URL, a File, bytes, or in
 * Node the path of a file or folder, which goes before a repository of that name. Downloads resume after
 * failures, are checked against the length and digest that the hub states, and are cached: in the browser's
 * Cache API, or in Node in a folder that any number of processes may share. If the cache cannot be used, the
 * load goes on without it and warns.
 *
 * @throws SourceError if it cannot be fetched; CheckpointError if it is broken or of another model;
 *   ConfigError for an impossible config; the signal's reason, by default an AbortError, after an abort
 * @example
 * const { config, source, preprocessing } = await loadCheckpoint('pvt_v2_b2.in1k', {
 *   onProgress: ({ loaded, total }) => console.log(loaded, total),
 * });
 * const backbone = createPvt(config, source);
 */
export const loadCheckpoint = loader.loadCheckpoint;

/**
 * The files that `loadCheckpoint` would read, fetched and checked, by name; or the one file that the
 * reference is to.
 *
 * @throws SourceError; the signal's reason after an abort
 * @example
 * const files = await fetchCheckpoint('timm/pvt_v2_b0.in1k');
 */
export const fetchCheckpoint = loader.fetchCheckpoint;

/**
 * What is in the cache: complete files, and the beginnings of interrupted downloads.
 *
 * @param pattern URLs to list; `*` matches any characters, `?` one
 * @example
 * for (const { url, size } of await listCache('*pvt_v2_b0*')) console.log(url, size);
 */
export const listCache = loader.listCache;

/**
 * Removes files from the cache.
 *
 * @param pattern URLs to remove; `*` matches any characters, `?` one
 * @returns what was removed
 * @example
 * await clearCache('*timm/pvt_v2_b5.in1k*');
 */
export const clearCache = loader.clearCache;
