import type * as browser from './index.ts';
import { defaultCacheFolder, folderCache } from './sources/folderCache.ts';
import { createLoader } from './sources/load.ts';
import { nodeHash, openPath } from './sources/paths.ts';

export * from './shared.ts';
// Only `@pvt/presets/node` has these: they are about paths, and a browser has no file system to give them a
// meaning.
export { defaultCacheFolder, folderCache };
export { saveFolder } from './saveFolder.ts';

/** In Node, `@pvt/presets` is this module, with the types and the documentation of `index.ts`. */
type Loader = Pick<typeof browser, 'loadCheckpoint' | 'fetchCheckpoint' | 'listCache' | 'clearCache'>;

export const { loadCheckpoint, fetchCheckpoint, listCache, clearCache }: Loader = createLoader({
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
