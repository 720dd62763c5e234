import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { labelsOf, savePretrained } from '@pvt/presets';
import { saveFolder } from '@pvt/presets/node';
import { beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { progressLine } from './fetch.ts';
import { folder, pvt, sample } from './fixtures/capture.ts';
import { serve } from './fixtures/server.ts';
import { tinyConfig, tinySource, writeTinyWeights } from './fixtures/tinyModel.ts';
import { run } from './run.ts';

const inFolder = folder();
const weights = inFolder('tiny.safetensors');
const mine = inFolder('mine');
const labels = ['ant', 'bee', 'cat'];
const listed = () =>
  readdirSync(mine).map((path) => ({
    type: 'file',
    path,
    size: readFileSync(`${mine}/${path}`).length,
    oid: '0'.repeat(40),
  }));

const url = serve((request, response) => {
  if (request.url === '/tiny.safetensors') response.end(readFileSync(weights));
  else if (request.url === '/page')
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>Sign in</title>');
  else if (request.url === '/slow')
    response.writeHead(200, { 'content-length': '1000000' }).write('x'.repeat(1000));
  else if (request.url === '/api/models/me/mine/tree/main')
    response.setHeader('content-type', 'application/json').end(JSON.stringify(listed()));
  else response.writeHead(404).end('no such thing');
});

beforeAll(async () => {
  writeTinyWeights(weights);
  mkdirSync(inFolder('empty'));
  writeFileSync(inFolder('labels.json'), '["x", "y", "z"]');
  await saveFolder(
    mine,
    savePretrained(
      { config: tinyConfig, source: tinySource, labels },
      { layout: 'huggingFace', epsilon: 'layout' },
    ),
  );
});
beforeEach(() => {
  vi.stubEnv('PVT_CACHE', inFolder('cache'));
  vi.stubEnv('HF_ENDPOINT', url());
  vi.stubEnv('HF_HUB_OFFLINE', '');
  return () => vi.unstubAllEnvs();
});

interface Answer {
  readonly predictions: readonly {
    readonly index: number;
    readonly label?: string;
    readonly logit: number;
  }[];
}
const classify = async (...argv: string[]) => {
  const { code, stdout, stderr } = await pvt('classify', sample, '--json', '--backend', 'cpu', ...argv);
  expect({ code, stderr: stderr.replaceAll(/^note: .*\n/gm, '') }).toEqual({ code: 0, stderr: '' });
  return (JSON.parse(stdout) as Answer[])[0]!.predictions;
};

describe('--weights', () => {
  it('takes a URL, and gives what the file gives', async () => {
    expect(await classify('--weights', `${url()}/tiny.safetensors`)).toEqual(
      await classify('--weights', weights),
    );
  });

  it('takes the class names of a folder', async () => {
    expect(labelsOf(JSON.parse(readFileSync(`${mine}/config.json`, 'utf8')))).toEqual(labels);
    for (const { index, label } of await classify('--weights', mine)) expect(label).toBe(labels[index]);
  });

  it('puts --labels before them', async () => {
    for (const { label } of await classify('--weights', mine, '--labels', inFolder('labels.json')))
      expect(label).toMatch(/^[xyz]$/);
  });

  it.each([
    ['a URL with nothing there', () => `${url()}/nothing.pth`, '404'],
    ['a web page', () => `${url()}/page`, 'web page'],
    ['a folder without weights', () => inFolder('empty'), 'weights'],
    ['a name that is none', () => 'pvt_v2_b9', 'did you mean pvt_v2_b0.in1k'],
  ])('refuses %s', async (_, reference, complaint) => {
    const { code, stdout, stderr } = await pvt('features', sample, '--weights', reference());
    expect(stderr).toContain(complaint);
    expect(stderr).toMatch(/^pvt: .+[.?]\n$/);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });

  it('says what is missing where it may not ask', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const { code, stderr } = await pvt('features', sample, '--weights', 'timm/pvt_v2_b0.in1k');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^pvt: .*timm\/pvt_v2_b0\.in1k.* while offline.*; load it once with a connection\.\n$/,
    );
  });

  it('is named where a published variant lacks weights', async () => {
    expect((await pvt('classify', sample, '--model', 'pvt_tiny')).stderr).toContain(
      '--weights pvt_tiny.in1k',
    );
  });
});

it('stops on Ctrl-C, with nothing more to say', async () => {
  const before = process.listeners('SIGINT');
  let shown = '';
  const stderr = {
    isTTY: true,
    columns: 60,
    write(text: string) {
      shown += text;
      for (const listener of process.listeners('SIGINT')) {
        if (text.includes(' of 1.00 MB') && !before.includes(listener)) listener('SIGINT');
      }
    },
  };
  const code = await run(['inspect', `${url()}/slow`], {
    stdout: { write: (text) => (shown += text) },
    stderr,
  });
  expect(code).toBe(130);
  expect(shown).toContain(' 0 % ');
  expect(shown).toMatch(/pvt:\S* stopped\.\n$/);
  expect(process.listeners('SIGINT')).toEqual(before);
});

describe('the line of a download', () => {
  it.each([
    [
      { loaded: 0, total: 14_700_000, bytesPerSecond: undefined, secondsLeft: undefined },
      `${'░'.repeat(24)} 0 %  0 B of 14.7 MB`,
    ],
    [
      { loaded: 7_350_000, total: 14_700_000, bytesPerSecond: 735_000, secondsLeft: 10 },
      `${'█'.repeat(12)}${'░'.repeat(12)} 50 %  7.35 MB of 14.7 MB  735 kB/s  10 s left`,
    ],
    [
      { loaded: 2_000_000, total: undefined, bytesPerSecond: 1_000_000, secondsLeft: undefined },
      '…  2.00 MB  1.00 MB/s',
    ],
    [
      { loaded: 1, total: 1_000_000, bytesPerSecond: 1000, secondsLeft: 1000 },
      `${'░'.repeat(24)} 0 %  1 B of 1.00 MB  1.00 kB/s  17 min left`,
    ],
  ])('%j', (state, line) => {
    expect(progressLine({ file: 'model.safetensors', files: 1, ...state })).toBe(line);
  });
});

describe('pvt cache', () => {
  const cache = async (...argv: string[]) =>
    JSON.parse((await pvt('cache', ...argv, '--json')).stdout) as {
      folder: string;
      bytes: number;
      files?: { url: string; size: number }[];
      removed?: { url: string }[];
    };

  it('lists downloads and removes them', async () => {
    await pvt('cache', 'clear');
    expect(await cache()).toEqual({ folder: inFolder('cache'), bytes: 0, files: [] });
    await classify('--weights', `${url()}/tiny.safetensors`);
    const { length } = readFileSync(weights);
    expect(await cache('list')).toMatchObject({
      bytes: length,
      files: [{ url: `${url()}/tiny.safetensors`, size: length, complete: true }],
    });
    const { code, stdout, stderr } = await pvt('cache');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      new RegExp(`^.*: 1 file, .* kB\n\n.* kB  \\d{4}-\\d\\d-\\d\\d  ${url()}/tiny.safetensors\n$`),
    );
    expect((await cache('list', 'another')).files).toEqual([]);
    expect((await cache('clear', 'another')).removed).toEqual([]);
    expect((await cache('clear', '127.0.0.1*tiny')).removed).toHaveLength(1);
    expect((await pvt('cache')).stdout).toBe(`${inFolder('cache')}: 0 files\n`);
  });

  it('does not take an empty pattern for all', async () => {
    expect(await pvt('cache', 'clear', '')).toMatchObject({ code: 2, stdout: '' });
  });

  it('says where it cannot look', async () => {
    vi.stubEnv('PVT_CACHE', weights);
    const { code, stderr } = await pvt('cache');
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /^pvt: expected the cache in .*; check PVT_CACHE and its permissions\.\n$/,
      ),
    });
  });
});
