import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ReadableFile } from '../formats/readableFile.ts';
import { fetchCheckpoint, folderCache, listCache } from '../node.ts';
import { SourceError, type SourceErrorCode, type SourceWarning } from './errors.ts';
import {
  hub,
  noise,
  sendFile,
  serve,
  sha256,
  type Answer,
  type HubFile,
  type TestServer,
} from './fixtures/server.ts';
import { chooseFiles } from './hub.ts';
import type { FetchOptions } from './load.ts';
import type { LoadProgress } from './progress.ts';

const weights = noise(200_000);
const config = new TextEncoder().encode('{"architecture":"pvt_v2_b0"}');
const files = {
  'README.md': { content: noise(10) },
  'config.json': { content: config },
  'model.safetensors': { content: weights, large: true },
} as const satisfies Record<string, HubFile>;
const repo = 'timm/pvt_v2_b0.in1k';

let folder: string;
let warnings: SourceWarning[];
const servers: TestServer[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pvt-cache-'));
  warnings = [];
  for (const name of ['HF_ENDPOINT', 'HF_TOKEN', 'HF_HUB_OFFLINE']) vi.stubEnv(name, '');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await rm(folder, { recursive: true, force: true });
});

const start = async (answer: Answer) => {
  const server = await serve(answer);
  servers.push(server);
  return server;
};
const get = async (reference: string, options: FetchOptions = {}) =>
  (await fetchCheckpoint(reference, {
    cache: folderCache(folder),
    retries: { attempts: 2, delay: 1 },
    onWarning: (warning) => warnings.push(warning),
    ...options,
  })) as ReadonlyMap<string, ReadableFile>;
const digests = async (found: ReadonlyMap<string, ReadableFile>) =>
  Object.fromEntries(
    await Promise.all(
      Array.from(found, async ([name, file]) => [name, sha256(await file.read(0, file.size))]),
    ),
  );
const whole = { 'config.json': sha256(config), 'model.safetensors': sha256(weights) };
const failure = async (work: Promise<unknown>): Promise<SourceError> => {
  const error: unknown = await work.then(
    () => 'nothing thrown',
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(SourceError);
  expect((error as Error).message).toMatch(/^loadCheckpoint: expected .*, got .*; .*[.?]$/s);
  return error as SourceError;
};

describe('a repository', () => {
  it('gives weights and config, with one total of progress', async () => {
    const server = await start(hub(repo, files));
    const progress: LoadProgress[] = [];
    expect(
      await digests(await get(repo, { endpoint: `${server.url}/`, onProgress: (at) => progress.push(at) })),
    ).toEqual(whole);
    expect(server.requests.map(({ path }) => path)).toEqual([
      `/api/models/${repo}/tree/main`,
      `/${repo}/resolve/main/config.json`,
      `/${repo}/resolve/main/model.safetensors`,
    ]);
    const total = config.length + weights.length;
    expect(progress.every((at) => at.total === total && at.files === 2)).toBe(true);
    expect(progress.at(-1)).toMatchObject({ file: 'model.safetensors', loaded: total });
  });

  it.each([
    ['the name of a published checkpoint', (_url: string) => 'pvt_v2_b0.in1k', 'main'],
    ['a variant', () => 'pvt_v2_b0', 'main'],
    ['owner/repo@revision', () => `${repo}@refs/pr/1`, 'refs%2Fpr%2F1'],
    ['its page', (url: string) => `${url}/${repo}`, 'main'],
    ['its page at a revision', (url: string) => `${url}/${repo}/tree/v1.0`, 'v1.0'],
  ])('is found by %s', async (_what, reference, revision) => {
    const server = await start(hub(repo, files));
    vi.stubEnv('HF_ENDPOINT', server.url);
    expect(await digests(await get(reference(server.url)))).toEqual(whole);
    expect(server.requests[0]!.path).toBe(`/api/models/${repo}/tree/${revision}`);
    expect(server.requests[1]!.path).toBe(`/${repo}/resolve/${revision}/config.json`);
  });

  it('gives the file that is meant, with what describes it', async () => {
    const ema = noise(1000, 2);
    const server = await start(hub(repo, { ...files, 'ema.pth': { content: ema, large: true } }));
    const expected = { 'config.json': sha256(config), 'ema.pth': sha256(ema) };
    expect(
      await digests(await get(`${server.url}/${repo}/blob/main/ema.pth`, { endpoint: server.url })),
    ).toEqual(expected);
    expect(await digests(await get(repo, { endpoint: server.url, file: 'ema.pth' }))).toEqual(expected);
  });

  it('gives a file of one of its folders', async () => {
    const server = await start((request, response) => {
      if (request.url!.endsWith('/tree/main/a%20b'))
        response.end(
          JSON.stringify([
            { type: 'file', path: 'a b/x.pth', size: weights.length, oid: '', lfs: { oid: sha256(weights) } },
          ]),
        );
      else if (request.url!.endsWith('/resolve/main/a%20b/x.pth')) sendFile(request, response, weights);
      else response.writeHead(404).end();
    });
    expect(await digests(await get(repo, { endpoint: server.url, file: 'a b/x.pth' }))).toEqual({
      'x.pth': sha256(weights),
    });
  });

  it('is not fetched again while the hub states the same digests', async () => {
    const server = await start(hub(repo, files));
    await get(repo, { endpoint: server.url });
    expect(await digests(await get(repo, { endpoint: server.url }))).toEqual(whole);
    expect(server.requests).toHaveLength(4);
  });

  it('at a commit needs no request at all once it is here', async () => {
    const server = await start(hub(repo, files));
    const commit = `${repo}@${'0123456789'.repeat(4)}`;
    await get(commit, { endpoint: server.url });
    expect(await digests(await get(commit, { endpoint: server.url }))).toEqual(whole);
    expect(server.requests).toHaveLength(3);
  });

  it('comes from the cache offline, by option or environment', async () => {
    const server = await start(hub(repo, files));
    expect((await failure(get(repo, { endpoint: server.url, offline: true }))).code).toBe('source-offline');
    await get(repo, { endpoint: server.url });
    const asked = server.requests.length;
    expect(await digests(await get(repo, { endpoint: server.url, offline: true }))).toEqual(whole);
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await digests(await get(repo, { endpoint: server.url }))).toEqual(whole);
    expect(server.requests).toHaveLength(asked);
  });

  it('comes from the cache, with a warning, while the hub is down', async () => {
    let down = false;
    const up = hub(repo, files);
    const server = await start((request, response, count) =>
      down ? void response.writeHead(502).end() : up(request, response, count),
    );
    await get(repo, { endpoint: server.url });
    down = true;
    expect(await digests(await get(repo, { endpoint: server.url }))).toEqual(whole);
    expect(warnings.map(({ code }) => code)).toEqual(['cache-stale']);
  });

  it('may list its files on several pages', async () => {
    const server: TestServer = await start((request, response, count) => {
      if (!request.url!.includes('/tree/')) return hub(repo, files)(request, response, count);
      const [first, ...rest] = Object.entries(files).map(([path, { content }]) => ({
        type: 'file',
        path,
        size: content.length,
        oid: '0'.repeat(40),
        lfs: { oid: sha256(content) },
      }));
      if (request.url!.includes('cursor')) response.end(JSON.stringify(rest));
      else
        response
          .writeHead(200, { link: `<${server.url}/api/models/${repo}/tree/main?cursor=2>; rel="next"` })
          .end(JSON.stringify([first]));
    });
    expect(await digests(await get(repo, { endpoint: server.url }))).toEqual(whole);
  });
});

describe('what the hub states', () => {
  const wrong = (name: string, content: Uint8Array) =>
    hub(
      repo,
      files,
      (file, request, response) => file === name && (sendFile(request, response, content), true),
    );

  it.each<[string, string, Uint8Array, SourceErrorCode]>([
    ['other weights of the same length', 'model.safetensors', noise(weights.length, 3), 'source-digest'],
    [
      'another config of the same length',
      'config.json',
      new TextEncoder().encode('{"architecture":"pvt_v2_b5"}'),
      'source-digest',
    ],
    ['more bytes', 'model.safetensors', noise(weights.length + 1), 'source-size'],
    ['fewer bytes', 'model.safetensors', weights.subarray(0, 1000), 'source-size'],
    ['a web page', 'model.safetensors', new TextEncoder().encode('<html>Sign in</html>'), 'source-html'],
  ])('is not what came: %s', async (_what, name, content, code) => {
    const server = await start(wrong(name, content));
    expect((await failure(get(repo, { endpoint: server.url }))).code).toBe(code);
    const cached = (await listCache('*', folderCache(folder))).map(({ url }) => url.split('/').at(-1)!);
    expect(cached.filter((file) => file === name)).toEqual([]);
  });

  it('is more than a body that ends early without saying its length', async () => {
    const server = await start(
      hub(
        repo,
        files,
        (name, _request, response) =>
          name === 'model.safetensors' && (response.end(weights.subarray(0, 1000)), true),
      ),
    );
    expect(await failure(get(repo, { endpoint: server.url }))).toMatchObject({
      code: 'source-short',
      temporary: true,
    });
  });

  it('must be a list', async () => {
    for (const body of [
      '{"error":"no"}',
      '<html>',
      '[{"type":"file","path":"model.safetensors"}]',
      '[1]',
      '[{"type":"file","type":"file"}]',
    ]) {
      const server = await start((_request, response) => void response.end(body));
      expect((await failure(get(repo, { endpoint: server.url }))).code).toBe('source-listing');
    }
  });

  it.each<[number, string, string | undefined, SourceErrorCode, RegExp]>([
    [
      401,
      'RepoNotFound',
      undefined,
      'source-unauthorized',
      /no such repository, or a private one.*published: .*HF_TOKEN/,
    ],
    [401, '', undefined, 'source-unauthorized', /HF_TOKEN/],
    [401, '', 'hf_old', 'source-unauthorized', /token is no longer valid/],
    [403, 'GatedRepo', 'hf_new', 'source-forbidden', /accept the terms of timm\/pvt_v2_b0\.in1k/],
    [
      404,
      'RepoNotFound',
      undefined,
      'source-missing',
      /no such repository; check the name; published are pvt_v2_b0\.in1k/,
    ],
    [404, 'RevisionNotFound', undefined, 'source-missing', /no such revision/],
  ])('%i %s with token %s', async (status, code, token, expected, message) => {
    const server = await start(
      (_request, response) => void response.writeHead(status, { 'x-error-code': code }).end(),
    );
    const error = await failure(get(repo, { endpoint: server.url, ...(token !== undefined && { token }) }));
    expect(error).toMatchObject({ code: expected, status });
    expect(error.message).toMatch(message);
  });

  it('gives an unknown file no chance', async () => {
    const server = await start(hub(repo, files));
    expect(await failure(get(repo, { endpoint: server.url, file: 'model.bin' }))).toMatchObject({
      code: 'source-missing',
      status: undefined,
    });
  });
});

it('sends the token to the hub and to nobody else', async () => {
  const cdn = await start((request, response) => sendFile(request, response, weights));
  const server: TestServer = await start(
    hub(repo, files, (name, _request, response) => {
      if (name === 'model.safetensors')
        response.writeHead(302, { location: `${cdn.url}/blob?signature=1` }).end();
      return name === 'model.safetensors';
    }),
  );
  vi.stubEnv('HF_TOKEN', 'hf_secret');
  expect(await digests(await get(repo, { endpoint: server.url }))).toEqual(whole);
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(
    Array(3).fill('Bearer hf_secret'),
  );
  expect(cdn.requests).toHaveLength(1);
  expect(JSON.stringify(cdn.requests)).not.toContain('hf_secret');

  await fetchCheckpoint(`${cdn.url}/model.safetensors`, { cache: false, endpoint: server.url });
  expect(JSON.stringify(cdn.requests)).not.toContain('hf_secret');
});

describe('the files that make up a checkpoint', () => {
  it.each<[string, string[], string[]]>([
    [
      'transformers',
      ['README.md', 'preprocessor_config.json', 'config.json', 'pytorch_model.bin', 'model.safetensors'],
      ['config.json', 'preprocessor_config.json', 'model.safetensors'],
    ],
    [
      'shards',
      [
        'model.safetensors.index.json',
        'model-00001-of-00002.safetensors',
        'model-00002-of-00002.safetensors',
        'config.json',
      ],
      [
        'config.json',
        'model.safetensors.index.json',
        'model-00001-of-00002.safetensors',
        'model-00002-of-00002.safetensors',
      ],
    ],
    [
      'torch shards',
      ['pytorch_model-00001-of-00001.bin', 'pytorch_model.bin.index.json'],
      ['pytorch_model.bin.index.json', 'pytorch_model-00001-of-00001.bin'],
    ],
    ['torch', ['config.json', 'pytorch_model.bin'], ['config.json', 'pytorch_model.bin']],
    ['a lone file', ['pvt_v2_b0.pth', 'log.txt'], ['pvt_v2_b0.pth']],
  ])('%s', (_what, names, chosen) => {
    expect(chooseFiles(names, 'here')).toEqual(chosen);
  });

  it('must be clear', () => {
    expect(() => chooseFiles(['a.pth', 'b.pth'], 'here')).toThrow(
      expect.objectContaining({ code: 'source-ambiguous' }),
    );
    expect(() => chooseFiles(['README.md'], 'here')).toThrow(
      expect.objectContaining({ code: 'source-no-weights' }),
    );
  });
});

describe('on this machine', () => {
  it('reads a file, a folder and a file of a folder', async () => {
    await mkdir(join(folder, 'model'));
    await writeFile(join(folder, 'model', 'model.safetensors'), weights);
    await writeFile(join(folder, 'model', 'config.json'), config);
    expect(await digests(await get(join(folder, 'model')))).toEqual(whole);
    expect(Object.keys(await digests(await get(join(folder, 'model'), { file: 'config.json' })))).toEqual([
      'config.json',
    ]);
    for (const reference of [
      join(folder, 'model', 'model.safetensors'),
      new URL(`file://${folder}/model/model.safetensors`),
    ]) {
      const file = (await fetchCheckpoint(reference)) as ReadableFile;
      expect(file).toMatchObject({ name: 'model.safetensors', size: weights.length });
      expect(await file.read(100, 120)).toEqual(weights.subarray(100, 120));
    }
  });

  it('says what is not there', async () => {
    expect((await failure(get(join(folder, 'none')))).code).toBe('source-missing');
    expect((await failure(get('./none.pth'))).code).toBe('source-missing');
    expect((await failure(get(folder, { file: 'none' }))).code).toBe('source-missing');
    expect((await failure(get(folder))).code).toBe('source-no-weights');
    const unknown = await failure(get('pvt_v2_b7'));
    expect(unknown.code).toBe('source-unknown');
    expect(unknown.message).toContain('pvt_v2_b0.in1k');
    expect((await failure(get('ftp://host/file'))).code).toBe('source-unknown');
  });

  it('notices a file that changes under the reader', async () => {
    const path = join(folder, 'a.safetensors');
    await writeFile(path, weights);
    const file = (await fetchCheckpoint(path)) as ReadableFile;
    await writeFile(path, 'short');
    await expect(file.read(0, 3)).rejects.toThrow(expect.objectContaining({ code: 'source-unreadable' }));
    await rm(path);
    await writeFile(path, noise(weights.length, 4));
    await expect(file.read(0, 3)).rejects.toThrow(expect.objectContaining({ code: 'source-unreadable' }));
    await rm(path);
    await expect(file.read(0, 100)).rejects.toThrow(expect.objectContaining({ code: 'source-unreadable' }));
  });
});
