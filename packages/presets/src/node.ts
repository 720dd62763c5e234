import { defaultCacheFolder, folderCache } from './sources/folderCache.ts';
import { createLoader } from './sources/load.ts';
import { nodeHash, openPath } from './sources/paths.ts';

export { defaultCacheFolder, folderCache };

const loader = createLoader({
  cache: () => folderCache(defaultCacheFolder()),
  hash: nodeHash,
  defaults: () => {
    const { HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE } = process.env;
    return {
      ...(HF_ENDPOINT && { endpoint: HF_ENDPOINT }),
      ...(HF_TOKEN && { token: HF_TOKEN }),
      offline: /^(1|true|yes|on)$/i.test(HF_HUB_OFFLINE ?? ''),
    };
  },
  openPath,
});

/**
 * A checkpoint from anywhere, as in the browser, and from files and folders besides; a path that exists goes before a
 * repository of that name. Downloads are kept in {@link defaultCacheFolder}, which any number of processes may share.
 * `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` stand in for the options of those meanings.
 *
 * @throws SourceError where it cannot be fetched; CheckpointError where it is broken or another model; ConfigError for an impossible config;
 * the signal's reason, an AbortError by default, after an abort
 * @example
 * const { config, source } = await loadCheckpoint('./my-model');
 * const published = await loadCheckpoint('timm/pvt_v2_b0.in1k', { signal: AbortSignal.timeout(60_000) });
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

export { saveFolder } from './saveFolder.ts';
