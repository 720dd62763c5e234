import { browserCache } from './browserCache.ts';
import { webHash } from './digest.ts';
import { createLoader } from './load.ts';

const loader = createLoader({
  cache: () => ('caches' in globalThis ? browserCache() : undefined),
  hash: webHash,
  defaults: () => ({}),
  openPath: async () => undefined,
});

/**
 * A checkpoint from anywhere: a published one by name, a repository on the hub, a URL, a File or bytes. Downloads go on where they
 * broke off, are checked against the length and digest that are stated for them, and are kept in the browser's Cache API;
 * where it is full the load goes on without it, with a warning. In Node, import it from `@pvt/presets/node`.
 *
 * @throws SourceError where it cannot be fetched; CheckpointError where it is broken or another model; ConfigError for an impossible config;
 * the signal's reason, an AbortError by default, after an abort
 * @example
 * const { config, source, preprocessing } = await loadCheckpoint('pvt_v2_b2.in1k', { onProgress: ({ loaded, total }) => show(loaded / total) });
 * const backbone = createPvt(config, source);
 */
export const loadCheckpoint = loader.loadCheckpoint;

/**
 * The files that `loadCheckpoint` would read, fetched and checked, by their names; the one file where the reference is to one.
 *
 * @throws SourceError; the signal's reason after an abort
 * @example
 * const files = await fetchCheckpoint('timm/pvt_v2_b0.in1k');
 */
export const fetchCheckpoint = loader.fetchCheckpoint;

/**
 * What is in the cache: whole files, and the beginnings of downloads that were broken off.
 *
 * @param pattern which URLs; `*` stands for any characters, `?` for one
 * @example
 * for (const { url, size } of await listCache('*pvt_v2_b0*')) console.log(url, size);
 */
export const listCache = loader.listCache;

/**
 * Removes what is in the cache, and tells what it was.
 *
 * @param pattern which URLs; `*` stands for any characters, `?` for one
 * @example
 * await clearCache('*timm/pvt_v2_b5.in1k*');
 */
export const clearCache = loader.clearCache;
