import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PvtError } from '@pvt/core';
import type { ReadableFile } from '../formats/readableFile.ts';
import { clearCache, fetchCheckpoint, folderCache, listCache } from '../node.ts';
import type { FileCache } from './cache.ts';
import { SourceError, type SourceWarning } from './errors.ts';
import { noise, sendFile, serve, sha256, type Answer, type TestServer } from './fixtures/server.ts';
import type { FetchOptions } from './load.ts';
import type { LoadProgress } from './progress.ts';

const content = noise(300_000);
const half = 150_000;

let folder: string;
let cache: FileCache;
let warnings: SourceWarning[];
const servers: TestServer[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pvt-cache-'));
  cache = folderCache(folder);
  warnings = [];
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await rm(folder, { recursive: true, force: true });
});

const start = async (answer: Answer) => {
  const server = await serve(answer);
  servers.push(server);
  return server;
};
const quick = { attempts: 3, delay: 1, stallTimeout: 5_000 };
const get = async (url: string, options: FetchOptions = {}): Promise<Uint8Array> => {
  const file = (await fetchCheckpoint(url, {
    cache,
    retries: quick,
    onWarning: (warning) => warnings.push(warning),
    ...options,
  })) as ReadableFile;
  return file.read(0, file.size);
};
/** Far faster than `toEqual` on so many bytes. */
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const failure = async (work: Promise<unknown>): Promise<SourceError> => {
  const error: unknown = await work.then(
    () => 'nothing thrown',
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(SourceError);
  expect(error).toBeInstanceOf(PvtError);
  expect((error as Error).message).toMatch(/^loadCheckpoint: expected .*, got .*; .*[.?]$/s);
  return error as SourceError;
};
const ranges = ({ requests }: TestServer) => requests.map(({ headers }) => headers.range);
const inCache = async () => (await listCache('*', cache)).map(({ size, complete }) => ({ size, complete }));

/** Loads until so many bytes have come, then aborts. */
async function abortAfter(url: string, bytes: number, options: FetchOptions = {}): Promise<unknown> {
  const controller = new AbortController();
  const watching = setInterval(async () => {
    const entries = await cache.list();
    if (entries.some((entry) => entry.url === url && entry.size >= bytes)) controller.abort();
  }, 5);
  try {
    return await get(url, { signal: controller.signal, ...options }).then(
      () => 'nothing thrown',
      (error: unknown) => error,
    );
  } finally {
    clearInterval(watching);
  }
}

describe('answers that are no file', () => {
  it.each([
    ['401', 401, {}, 'source-unauthorized'],
    ['403', 403, {}, 'source-forbidden'],
    ['404', 404, {}, 'source-missing'],
    ['410', 410, {}, 'source-missing'],
    ['400', 400, {}, 'source-refused'],
  ] as const)('%s is asked once and leaves nothing', async (_what, status, headers, code) => {
    const server = await start((_request, response) => void response.writeHead(status, headers).end('no'));
    expect(await failure(get(`${server.url}/model.safetensors`))).toMatchObject({
      code,
      status,
      temporary: false,
    });
    expect(server.requests).toHaveLength(1);
    expect(await inCache()).toEqual([]);
  });

  it('a web page with status 200', async () => {
    const server = await start(
      (_request, response) =>
        void response
          .writeHead(200, { 'content-type': 'text/html' })
          .end('\n<!DOCTYPE html><title>Log in</title>'),
    );
    expect((await failure(get(`${server.url}/model.safetensors`))).code).toBe('source-html');
    expect(await inCache()).toEqual([]);
  });

  it('a Git LFS pointer', async () => {
    const server = await start(
      (_request, response) =>
        void response.end(
          `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(content)}\nsize 300000\n`,
        ),
    );
    expect((await failure(get(`${server.url}/model.safetensors`))).code).toBe('source-lfs-pointer');
    expect(await inCache()).toEqual([]);
  });

  it('a circle of redirects, and one to another protocol', async () => {
    const server = await start(
      (request, response) =>
        void response
          .writeHead(302, { location: request.url === '/away' ? 'file:///etc/hosts' : '/round' })
          .end(),
    );
    expect((await failure(get(`${server.url}/round`))).code).toBe('source-redirect');
    expect(server.requests).toHaveLength(11);
    expect((await failure(get(`${server.url}/away`))).code).toBe('source-redirect');
  });

  it('no server at all', async () => {
    const { url, close } = await serve(() => {});
    await close();
    expect(await failure(get(`${url}/model.safetensors`))).toMatchObject({
      code: 'source-network',
      temporary: true,
    });
  });
});

describe('temporary failures', () => {
  it('503 with Retry-After, then the file', async () => {
    const server = await start((request, response, count) => {
      if (count === 0) response.writeHead(503, { 'retry-after': '1' }).end();
      else sendFile(request, response, content);
    });
    const begin = performance.now();
    expect(same(await get(`${server.url}/model.safetensors`), content)).toBe(true);
    expect(performance.now() - begin).toBeGreaterThanOrEqual(990);
  });

  it('429 to the last attempt', async () => {
    const server = await start((_request, response) => void response.writeHead(429).end());
    expect(await failure(get(`${server.url}/model.safetensors`))).toMatchObject({
      code: 'source-busy',
      status: 429,
    });
    expect(server.requests).toHaveLength(3);
  });

  it('does not wait longer than it may', async () => {
    const server = await start(
      (_request, response) => void response.writeHead(503, { 'retry-after': '3600' }).end(),
    );
    expect(await failure(get(`${server.url}/model.safetensors`))).toMatchObject({
      code: 'source-busy',
      retryAfter: 3_600_000,
    });
    expect(server.requests).toHaveLength(1);
  });

  it('a connection cut in the middle goes on where it was', async () => {
    const server = await start((request, response, count) =>
      sendFile(request, response, content, { etag: '"a"', ...(count === 0 && { cut: half }) }),
    );
    expect(same(await get(`${server.url}/model.safetensors`), content)).toBe(true);
    expect(server.requests).toHaveLength(2);
    const [, range] = ranges(server);
    const from = Number(/^bytes=(\d+)-$/.exec(range!)![1]);
    expect(from).toBeGreaterThan(0);
    expect(from).toBeLessThanOrEqual(half);
    expect(server.requests[1]!.headers['if-range']).toBe('"a"');
  });

  it('a connection always cut, without ranges: a short body', async () => {
    const server = await start((request, response) =>
      sendFile(request, response, content, { ranges: false, cut: 1000 }),
    );
    expect((await failure(get(`${server.url}/model.safetensors`))).code).toBe('source-network');
    expect(server.requests).toHaveLength(3);
    expect(await inCache()).toEqual([]);
  });

  it('a server that falls silent', async () => {
    const server = await start((request, response, count) =>
      sendFile(request, response, content, { etag: '"a"', ...(count < 3 && { hang: half }) }),
    );
    expect(
      await failure(get(`${server.url}/silent`, { retries: { ...quick, attempts: 1, stallTimeout: 100 } })),
    ).toMatchObject({ code: 'source-stalled', temporary: true });
    expect(await inCache()).toEqual([{ size: half, complete: false }]);
    expect(
      same(
        await get(`${server.url}/model.safetensors`, {
          retries: { ...quick, attempts: 5, stallTimeout: 100 },
        }),
        content,
      ),
    ).toBe(true);
  });
});

describe('what is stated about a file', () => {
  it('must be its digest', async () => {
    const server = await start((request, response) => sendFile(request, response, content));
    expect(
      await failure(get(`${server.url}/model.safetensors`, { sha256: sha256(noise(10)) })),
    ).toMatchObject({ code: 'source-digest', temporary: false });
    expect(await inCache()).toEqual([]);
    expect(
      same(await get(`${server.url}/model.safetensors`, { sha256: sha256(content).toUpperCase() }), content),
    ).toBe(true);
    // With a digest, what is in the cache needs no server.
    expect(same(await get(`${server.url}/model.safetensors`, { sha256: sha256(content) }), content)).toBe(
      true,
    );
    expect(server.requests).toHaveLength(2);
  });

  it('may be a length that is too long: the connection waits for the rest', async () => {
    const server = await start((_request, response) => {
      response.writeHead(200, { 'content-length': String(content.length + 1000) });
      response.write(content, () => response.destroy());
    });
    expect((await failure(get(`${server.url}/model.safetensors`))).code).toBe('source-network');
  });

  it.each([
    ['longer', noise(10_000)],
    ['shorter', new Uint8Array(10_000)],
  ])('is not the length of a packed body, which may be %s', async (_what, body) => {
    const packed = gzipSync(body);
    const server = await start(
      (_request, response) =>
        void response
          .writeHead(200, { 'content-encoding': 'gzip', 'content-length': String(packed.length) })
          .end(packed),
    );
    const totals: (number | undefined)[] = [];
    expect(
      same(await get(`${server.url}/config.json`, { onProgress: ({ total }) => totals.push(total) }), body),
    ).toBe(true);
    expect(totals.every((total) => total === undefined || total === body.length)).toBe(true);
    expect(totals.at(-1)).toBe(body.length);
    expect(server.requests[0]!.headers['accept-encoding']).toBe('identity');
  });
});

describe('resuming', () => {
  const slow: Answer = (request, response, count) =>
    sendFile(request, response, content, { etag: '"a"', ...(count === 0 && { hang: half }) });

  it('fetches only the rest after an abort, which is an AbortError', async () => {
    const server = await start(slow);
    const url = `${server.url}/model.safetensors`;
    expect(await abortAfter(url, half)).toMatchObject({ name: 'AbortError' });
    expect(await inCache()).toEqual([{ size: half, complete: false }]);
    expect(same(await get(url), content)).toBe(true);
    expect(ranges(server)).toEqual([undefined, `bytes=${half}-`]);
    expect(await inCache()).toEqual([{ size: content.length, complete: true }]);
  });

  it('begins anew where the file has changed', async () => {
    const changed = noise(200_000, 7);
    const server = await start((request, response, count) =>
      count === 0 ? slow(request, response, count) : sendFile(request, response, changed, { etag: '"b"' }),
    );
    const url = `${server.url}/model.safetensors`;
    await abortAfter(url, half);
    expect(same(await get(url), changed)).toBe(true);
    expect(server.requests[1]!.headers).toMatchObject({ range: `bytes=${half}-`, 'if-range': '"a"' });
  });

  it('begins anew where a server takes no heed of If-Range', async () => {
    const changed = noise(200_000, 7);
    const server = await start((request, response, count) => {
      if (count === 0) return slow(request, response, count);
      delete request.headers['if-range'];
      sendFile(request, response, changed, { etag: '"b"' });
    });
    const url = `${server.url}/model.safetensors`;
    await abortAfter(url, half);
    expect(same(await get(url), changed)).toBe(true);
    expect(ranges(server)).toEqual([undefined, `bytes=${half}-`, undefined]);
  });

  it('begins anew where a server gives another range than the one asked for', async () => {
    const server = await start((request, response, count) => {
      if (count === 1)
        response.writeHead(206, { etag: '"a"', 'content-range': `bytes 0-299999/300000` }).end(content);
      else slow(request, response, count);
    });
    const url = `${server.url}/model.safetensors`;
    await abortAfter(url, half);
    expect(same(await get(url), content)).toBe(true);
    expect(ranges(server)).toEqual([undefined, `bytes=${half}-`, undefined]);
  });

  it('begins anew where another digest is stated than that of the beginning', async () => {
    const changed = noise(300_000, 7);
    const server = await start((request, response, count) =>
      sendFile(request, response, count === 0 ? content : changed, count === 0 ? { hang: half } : {}),
    );
    const url = `${server.url}/model.safetensors`;
    await abortAfter(url, half, { sha256: sha256(content) });
    expect(await inCache()).toEqual([{ size: half, complete: false }]);
    expect(same(await get(url, { sha256: sha256(changed) }), changed)).toBe(true);
    expect(ranges(server)).toEqual([undefined, undefined]);
  });

  it('begins anew where a server has no ranges', async () => {
    const server = await start((request, response, count) =>
      sendFile(request, response, content, {
        etag: '"a"',
        ranges: false,
        ...(count === 0 && { hang: half }),
      }),
    );
    const url = `${server.url}/model.safetensors`;
    await abortAfter(url, half);
    expect(same(await get(url), content)).toBe(true);
    expect(ranges(server)).toEqual([undefined, `bytes=${half}-`]);
  });

  it('keeps nothing of a version that nothing tells', async () => {
    const server = await start((request, response, count) =>
      sendFile(request, response, content, count === 0 ? { hang: half } : {}),
    );
    await abortAfter(`${server.url}/model.safetensors`, half);
    expect(await inCache()).toEqual([]);
  });

  it('fetches all of it again where the beginning was damaged', async () => {
    const server = await start(slow);
    const url = `${server.url}/model.safetensors`;
    await abortAfter(url, half, { sha256: sha256(content) });
    const [key] = await readdir(folder);
    const part = (await readdir(join(folder, key!))).find((name) => name.endsWith('.part'))!;
    await writeFile(join(folder, key!, part), noise(half, 5));
    expect(same(await get(url, { sha256: sha256(content) }), content)).toBe(true);
    expect(ranges(server)).toEqual([undefined, `bytes=${half}-`, undefined]);
  });

  it('stops at once for a signal that was aborted before', async () => {
    const server = await start(slow);
    await expect(
      get(`${server.url}/model.safetensors`, { signal: AbortSignal.abort('because') }),
    ).rejects.toBe('because');
    expect(server.requests).toHaveLength(0);
  });
});

describe('the cache', () => {
  it('asks whether a file is the same, and fetches the body only where it is not', async () => {
    let version = 1;
    const server = await start((request, response) =>
      sendFile(request, response, noise(3_000_000, version), { etag: `"${version}"` }),
    );
    const url = `${server.url}/model.safetensors`;
    expect(same(await get(url), noise(3_000_000, 1))).toBe(true);
    const progress: LoadProgress[] = [];
    expect(same(await get(url, { onProgress: (at) => progress.push(at) }), noise(3_000_000, 1))).toBe(true);
    expect(progress.at(-1)).toMatchObject({
      file: 'model.safetensors',
      files: 1,
      loaded: 3_000_000,
      total: 3_000_000,
    });
    version = 2;
    expect(same(await get(url), noise(3_000_000, 2))).toBe(true);
    expect(await inCache()).toEqual([{ size: 3_000_000, complete: true }]);
    expect(await readdir(join(folder, (await readdir(folder))[0]!))).toHaveLength(2);
  });

  it.each([
    ['other bytes', async (path: string) => writeFile(path, noise(content.length, 9))],
    ['fewer bytes', async (path: string) => writeFile(path, content.subarray(0, 10))],
  ])('a damaged file (%s) is noticed, told of and fetched again', async (_what, damage) => {
    const server = await start((request, response) => sendFile(request, response, content, { etag: '"a"' }));
    const url = `${server.url}/model.safetensors`;
    await get(url);
    const [key] = await readdir(folder);
    await damage(join(folder, key!, `${sha256(content)}.data`));
    expect(same(await get(url), content)).toBe(true);
    expect(warnings.map(({ code }) => code)).toEqual(['cache-corrupt']);
    expect(same(await get(url, { offline: true }), content)).toBe(true);
  });

  it('serves offline what it has, and says clearly what it has not', async () => {
    const server = await start((request, response) => sendFile(request, response, content, { etag: '"a"' }));
    const url = `${server.url}/model.safetensors`;
    const error = await failure(get(url, { offline: true }));
    expect(error.code).toBe('source-offline');
    expect(error.message).toContain(folder);
    expect(server.requests).toHaveLength(0);
    await get(url);
    expect(same(await get(url, { offline: true }), content)).toBe(true);
    expect(server.requests).toHaveLength(1);
    const [key] = await readdir(folder);
    await writeFile(join(folder, key!, `${sha256(content)}.data`), 'broken');
    expect((await failure(get(url, { offline: true }))).code).toBe('source-offline');
  });

  it('shows nobody a file before it is whole', async () => {
    const server = await start((request, response, count) =>
      sendFile(request, response, content, { etag: '"a"', ...(count === 0 && { hang: half }) }),
    );
    const url = `${server.url}/model.safetensors`;
    await abortAfter(url, half);
    expect(await cache.find(url)).toBeUndefined();
    expect((await failure(get(url, { offline: true }))).code).toBe('source-offline');
  });

  it('is listed and cleared by pattern, beginnings too', async () => {
    const server = await start((request, response) =>
      sendFile(request, response, content, { etag: '"a"', ...(request.url === '/part' && { hang: half }) }),
    );
    await get(`${server.url}/one`);
    await get(`${server.url}/two`);
    await abortAfter(`${server.url}/part`, half);
    const entries = await listCache('*', cache);
    expect(entries.map(({ url, complete }) => [url.slice(server.url.length), complete]).sort()).toEqual([
      ['/one', true],
      ['/part', false],
      ['/two', true],
    ]);
    expect(entries.every(({ modified }) => Math.abs(Date.now() - modified.getTime()) < 60_000)).toBe(true);
    expect((await clearCache('*/t?o', cache)).map(({ url }) => url)).toEqual([`${server.url}/two`]);
    expect(await listCache('*/two', cache)).toEqual([]);
    expect(await clearCache('*', cache)).toHaveLength(2);
    expect(await readdir(folder)).toEqual([]);
  });

  it('may be nowhere', async () => {
    const server = await start((request, response) => sendFile(request, response, content));
    expect(same(await get(`${server.url}/model.safetensors`, { cache: false }), content)).toBe(true);
    expect(await readdir(folder)).toEqual([]);
    expect(warnings).toEqual([]);
  });
});

describe('a cache that cannot be written', () => {
  it('costs a warning, not the load, where there can be no folder', async () => {
    const server = await start((request, response) => sendFile(request, response, content));
    await writeFile(join(folder, 'file'), '');
    expect(
      same(
        await get(`${server.url}/model.safetensors`, { cache: folderCache(join(folder, 'file')) }),
        content,
      ),
    ).toBe(true);
    expect(warnings.map(({ code }) => code)).toEqual(['cache-failed']);
  });

  it.each([
    ['ENOSPC', 'cache-full'],
    ['EDQUOT', 'cache-full'],
    ['EROFS', 'cache-readonly'],
    ['EACCES', 'cache-readonly'],
    ['EIO', 'cache-failed'],
  ])('goes on in memory after %s in the middle', async (code, message) => {
    const server = await start((request, response) => sendFile(request, response, content));
    const failing: FileCache = {
      ...cache,
      async draft(url, name) {
        const draft = await cache.draft(url, name);
        const append = draft.append.bind(draft);
        draft.append = async (bytes) => {
          if (draft.size > 0) throw Object.assign(new Error(`${code}: no`), { code });
          await append(bytes);
        };
        return draft;
      },
    };
    expect(same(await get(`${server.url}/model.safetensors`, { cache: failing }), content)).toBe(true);
    expect(server.requests).toHaveLength(1);
    expect(warnings.map((warning) => warning.code)).toEqual([message]);
    expect(await inCache()).toEqual([]);
  });
});

describe('two processes at once', () => {
  const script = `
    const { fetchCheckpoint, folderCache } = await import(process.argv[1]);
    const cache = folderCache(process.argv[3]);
    const file = await fetchCheckpoint(process.argv[2], { cache, retries: { attempts: 3, delay: 1 } });
    const bytes = await file.read(0, file.size);
    process.stdout.write(Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex'));
  `;
  const tsx = fileURLToPath(new URL('../../../../node_modules/tsx/dist/esm/index.mjs', import.meta.url));
  const node = fileURLToPath(new URL('../node.ts', import.meta.url));
  const run = (url: string) => {
    const child = spawn(
      process.execPath,
      ['--import', tsx, '--input-type=module', '--eval', script, node, url, folder],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data));
    child.stderr.on('data', (data: Buffer) => (output += data));
    return { child, ended: new Promise<string>((resolve) => child.on('close', () => resolve(output))) };
  };

  it('both get the whole file, and leave one', async () => {
    expect(existsSync(tsx)).toBe(true);
    const waiting: (() => void)[] = [];
    // Nobody gets the second half before both have the first.
    const server = await start((_request, response) => {
      response.writeHead(200, { 'content-length': String(content.length), etag: '"a"' });
      response.write(content.subarray(0, half));
      waiting.push(() => response.end(content.subarray(half)));
      if (waiting.length === 2) for (const go of waiting) go();
    });
    const [one, two] = [run(`${server.url}/model.safetensors`), run(`${server.url}/model.safetensors`)];
    expect(await one.ended).toBe(sha256(content));
    expect(await two.ended).toBe(sha256(content));
    expect(await inCache()).toEqual([{ size: content.length, complete: true }]);
    expect(await readdir(join(folder, (await readdir(folder))[0]!))).toHaveLength(2);
  });

  it('what one left when it was killed, another goes on with', async () => {
    const server = await start((request, response, count) =>
      sendFile(request, response, content, { etag: '"a"', ...(count === 0 && { hang: half }) }),
    );
    const url = `${server.url}/model.safetensors`;
    const { child, ended } = run(url);
    while (!(await cache.list()).some(({ size }) => size === half))
      await new Promise((resolve) => setTimeout(resolve, 20));
    // As long as its writer lives, nobody else touches it.
    const other = await cache.draft(url, 'other');
    expect(other.size).toBe(0);
    await other.discard();
    child.kill('SIGKILL');
    await ended;
    expect(same(await get(url), content)).toBe(true);
    expect(ranges(server)).toEqual([undefined, `bytes=${half}-`]);
    const [key] = await readdir(folder);
    const entry = JSON.parse(await readFile(join(folder, key!, 'entry.json'), 'utf8')) as object;
    expect(entry).toMatchObject({ url, size: content.length, sha256: sha256(content), validator: '"a"' });
  });
});
