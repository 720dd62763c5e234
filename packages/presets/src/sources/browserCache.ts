import type { ReadableFile } from '../formats/readableFile.ts';
import { fromBlob, MemoryDraft, type CacheEntry, type FileCache } from './cache.ts';

const cacheName = 'pvt';
/** Keys must be URLs; this host cannot exist (RFC 2606). */
const keyOf = (url: string, kind: 'complete' | 'partial') =>
  `https://pvt.invalid/${kind}/${encodeURIComponent(url)}`;

const pack = (blob: Blob, url: string, validator: string | undefined, sha256 = '') =>
  new Response(blob, {
    headers: {
      'x-url': url,
      'x-size': String(blob.size),
      'x-sha256': sha256,
      'x-validator': validator ?? '',
      'x-modified': new Date().toISOString(),
    },
  });

/** The browser's Cache API. A file is visible once its `put` has succeeded, which is atomic. */
export const browserCache = (caches: CacheStorage = globalThis.caches): FileCache => {
  const open = () => caches.open(cacheName);
  return {
    name: 'the browser',
    async find(url) {
      const response = await (await open()).match(keyOf(url, 'complete'));
      if (response === undefined) return undefined;
      const { headers } = response;
      return {
        file: fromBlob(url, await response.blob()),
        size: Number(headers.get('x-size')),
        sha256: headers.get('x-sha256')!,
        validator: headers.get('x-validator') || undefined,
      };
    },
    async draft(url, name) {
      const cache = await open();
      const partial = await cache.match(keyOf(url, 'partial'));
      return new BrowserDraft(
        cache,
        url,
        name,
        partial?.headers.get('x-validator') || undefined,
        await partial?.blob(),
      );
    },
    async list() {
      const cache = await open();
      const entries: CacheEntry[] = [];
      for (const request of await cache.keys()) {
        const headers = (await cache.match(request))?.headers;
        if (headers === undefined) continue;
        entries.push({
          url: headers.get('x-url')!,
          size: Number(headers.get('x-size')),
          complete: request.url === keyOf(headers.get('x-url')!, 'complete'),
          modified: new Date(headers.get('x-modified')!),
        });
      }
      return entries;
    },
    async remove(url) {
      const cache = await open();
      await cache.delete(keyOf(url, 'complete'));
      await cache.delete(keyOf(url, 'partial'));
    },
  };
};

class BrowserDraft extends MemoryDraft {
  readonly #cache: Cache;
  readonly #url: string;

  constructor(
    cache: Cache,
    url: string,
    name: string,
    validator: string | undefined,
    start: Blob | undefined,
  ) {
    super(name, validator, start);
    this.#cache = cache;
    this.#url = url;
  }

  override async commit(sha256: string | undefined): Promise<ReadableFile> {
    await this.#cache.put(keyOf(this.#url, 'complete'), pack(this.blob, this.#url, this.validator, sha256));
    await this.#cache.delete(keyOf(this.#url, 'partial'));
    return fromBlob(this.name, this.blob);
  }

  override async suspend(): Promise<void> {
    await this.#cache.put(keyOf(this.#url, 'partial'), pack(this.blob, this.#url, this.validator));
  }

  override async discard(): Promise<void> {
    await super.discard();
    await this.#cache.delete(keyOf(this.#url, 'partial'));
  }
}
