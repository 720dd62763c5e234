/// <reference types="@vitest/browser-playwright" />
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cdp } from 'vitest/browser';
import type { ReadableFile } from '../formats/readableFile.ts';
import { clearCache, fetchCheckpoint, listCache } from '../index.ts';
import { browserCache } from './browserCache.ts';
import type { SourceWarning } from './errors.ts';
import type { FetchOptions } from './load.ts';

const url = 'https://host.example/model.safetensors';
const content = Uint8Array.from({ length: 500_000 }, (_, i) => (i * 7919) % 251);
const half = 250_000;

let warnings: SourceWarning[];
let asked: { readonly range: string | null }[];

beforeEach(() => {
  warnings = [];
  asked = [];
});
afterEach(async () => {
  await clearCache();
});

/** A server inside the page; the first answer may hang after half of the file. */
const server =
  ({ hang = false, file = content } = {}): typeof fetch =>
  async (_input, init) => {
    const range = new Headers(init?.headers).get('range');
    const first = asked.push({ range }) === 1;
    const begin = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start(controller) {
        controller.enqueue(hang && first ? file.slice(0, half) : file.slice(begin));
        if (!(hang && first)) return controller.close();
        init?.signal?.addEventListener('abort', () => controller.error(init.signal!.reason));
      },
    });
    const headers = { etag: `"${file.length}"`, 'content-length': String(file.length - begin) };
    return begin === 0
      ? new Response(body, { headers })
      : new Response(body, {
          status: 206,
          headers: { ...headers, 'content-range': `bytes ${begin}-${file.length - 1}/${file.length}` },
        });
  };

const get = async (options: FetchOptions) => {
  const file = (await fetchCheckpoint(url, {
    onWarning: (warning) => warnings.push(warning),
    retries: { attempts: 1, delay: 1 },
    ...options,
  })) as ReadableFile;
  return file.read(0, file.size);
};
const same = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

describe('the Cache API', () => {
  it('keeps a file, shows it in the list, and gives it offline', async () => {
    expect(same(await get({ fetch: server() }), content)).toBe(true);
    expect(await listCache()).toMatchObject([{ url, size: content.length, complete: true }]);
    expect(same(await get({ offline: true }), content)).toBe(true);
    const file = (await fetchCheckpoint(url, { offline: true })) as ReadableFile;
    expect(await file.read(1000, 1010)).toEqual(content.subarray(1000, 1010));
    expect(await clearCache('*/model.*')).toHaveLength(1);
    await expect(get({ offline: true })).rejects.toThrow(expect.objectContaining({ code: 'source-offline' }));
    expect(warnings).toEqual([]);
  });

  it('keeps what came before an abort, out of sight, and fetches the rest later', async () => {
    const controller = new AbortController();
    const loading = get({
      fetch: server({ hang: true }),
      signal: controller.signal,
      onProgress: ({ loaded }) => loaded > 0 && controller.abort(),
    });
    setTimeout(() => controller.abort(), 500);
    await expect(loading).rejects.toMatchObject({ name: 'AbortError' });
    expect(await listCache()).toMatchObject([{ url, size: half, complete: false }]);
    expect(await browserCache().find(url)).toBeUndefined();
    expect(same(await get({ fetch: server() }), content)).toBe(true);
    expect(asked).toEqual([{ range: null }, { range: `bytes=${half}-` }]);
    expect(await listCache()).toMatchObject([{ url, size: content.length, complete: true }]);
  });

  it('notices a damaged file', async () => {
    await get({ fetch: server() });
    const cache = await caches.open('pvt');
    const [key] = await cache.keys();
    const stored = await cache.match(key!);
    await cache.put(key!, new Response(content.slice(0, 100), { headers: stored!.headers }));
    expect(same(await get({ fetch: server() }), content)).toBe(true);
    expect(warnings.map(({ code }) => code)).toEqual(['cache-corrupt']);
  });

  it('over quota the load goes on without it, and says so', async () => {
    const { origin } = location;
    const { usage = 0 } = await navigator.storage.estimate();
    await cdp().send('Storage.overrideQuotaForOrigin', { origin, quotaSize: usage + 10_000 });
    try {
      expect(same(await get({ fetch: server() }), content)).toBe(true);
    } finally {
      await cdp().send('Storage.overrideQuotaForOrigin', { origin });
    }
    expect(warnings.map(({ code }) => code)).toEqual(['cache-full']);
    expect(await listCache()).toEqual([]);
  });
});

it('fetches over the network, follows redirects, and checks the digest', async () => {
  // What the test's own server has: a file of this package.
  const served = new URL('../fixtures/names.json', import.meta.url);
  const expected = new Uint8Array(await (await fetch(served)).arrayBuffer());
  const digest = Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', expected)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
  const file = (await fetchCheckpoint(served, { sha256: digest })) as ReadableFile;
  expect(file.name).toBe('names.json');
  expect(same(await file.read(0, file.size), expected)).toBe(true);
  await expect(fetchCheckpoint(served, { sha256: '0'.repeat(64) })).rejects.toThrow(
    expect.objectContaining({ code: 'source-digest' }),
  );
});

it('takes Files, bytes and URLs of the page itself', async () => {
  const blob = new File([content], 'mine.safetensors');
  const address = URL.createObjectURL(blob);
  for (const reference of [blob, content, content.buffer, address]) {
    const file = (await fetchCheckpoint(reference)) as ReadableFile;
    expect(file.size).toBe(content.length);
    expect(await file.read(10, 20)).toEqual(content.subarray(10, 20));
  }
  URL.revokeObjectURL(address);
});
