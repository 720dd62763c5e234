import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFile } from 'node:fs/promises';
import { checkpoints } from '@pvt/checkpoints';
import type { Browser, BrowserContext, Page } from 'playwright';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { launch } from './browser.ts';
import { segmenterFile } from './checkpoints.ts';
import { counts, loadFile, loseContext, modelOpen, pvt, sample, settled, texts, visit } from './page.ts';
import { serveDist, type Site } from './serve.ts';

let browser: Browser;
let context: BrowserContext;
let page: Page;
let site: Site;
/**
 * Another host. It sends a model under /whole, and under /slow only the first bytes unless a range is
 * requested.
 */
let host: Server;
let hostUrl = '';
/** How many slow downloads were aborted, and the byte that a resumed one began with. */
let aborted = 0;
let resumedAt = 0;

beforeAll(async () => {
  const weights = await readFile(checkpoints['pvt_v2_nano.cifar10'].url);
  host = createServer((request, response) => {
    response
      .setHeader('access-control-allow-origin', '*')
      .setHeader('access-control-expose-headers', '*')
      .setHeader('content-length', weights.length);
    response.setHeader('access-control-allow-headers', '*').setHeader('etag', '"one"');
    const [, first] = /^bytes=(\d+)-/.exec(request.headers.range ?? '') ?? [];
    if (request.method !== 'GET') response.setHeader('content-length', 0).end();
    else if (first !== undefined) {
      resumedAt = Number(first);
      response
        .writeHead(206, {
          'content-length': weights.length - resumedAt,
          'content-range': `bytes ${resumedAt}-${weights.length - 1}/${weights.length}`,
        })
        .end(weights.subarray(resumedAt));
    } else if (request.url!.startsWith('/slow')) {
      response.write(weights.subarray(0, 200_000));
      setTimeout(() => response.write(weights.subarray(200_000, 400_000)), 300);
      response.on('close', () => aborted++);
    } else response.end(weights);
  });
  await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
  hostUrl = `http://127.0.0.1:${(host.address() as AddressInfo).port}`;
  site = await serveDist();
  browser = await launch();
});
afterAll(async () => {
  await browser.close();
  await site.close();
  host.closeAllConnections();
  host.close();
});
beforeEach(async () => {
  context = await browser.newContext();
  page = await context.newPage();
});
afterEach(() => context.close());

const notice = (key: string) => page.locator(`.notice[data-key="${key}"]`);
const loadByName = async (name: string) => {
  await page.click('.model');
  await page.fill('dialog input[type=text]', name);
  await page.click('dialog button:text-is("Load")');
};

it('sends no request to another host', async () => {
  const hosts = new Set<string>();
  context.on('request', (request) => hosts.add(new URL(request.url()).host));
  await visit(page, site.url, { backend: 'wasm' });
  await page.click('#tab-explore');
  await modelOpen(page, 'pvt_v2_nano.cifar10');
  hosts.delete('');
  expect([...hosts]).toEqual([new URL(site.url).host]);
});

it('opens an embedded model, one from another host, and a file', async () => {
  await visit(page, site.url, { backend: 'wasm' });
  const first = await texts(page, '.bars li');
  await loadByName(`${hostUrl}/whole.safetensors`);
  await modelOpen(page, `${hostUrl}/whole.safetensors`);
  expect(await texts(page, '.bars li')).toEqual(first);
  await loadFile(page, 'mine.safetensors', await readFile(checkpoints['pvt_v2_nano.cifar10'].url));
  await modelOpen(page, 'mine.safetensors');
  expect(await texts(page, '.bars li')).toEqual(first);
  expect(await texts(page, '.times dt')).toEqual(['download', 'load', 'warm-up', 'image']);
});

it('cancels a download, opens the previous model again, and resumes the download', async () => {
  await visit(page, site.url, { backend: 'wasm' });
  await loadByName(`${hostUrl}/slow.safetensors`);
  await page.waitForFunction(() =>
    document.querySelector('.loading span')?.textContent?.match(/^0\.[1-4] MB of 1\.8 MB/),
  );
  await page.click('.loading button');
  await notice('model classify').waitFor();
  expect(await notice('model classify').textContent()).toContain('was stopped');
  await modelOpen(page, 'pvt_v2_nano.cifar10');
  expect(await page.textContent('.bars li:first-child .name')).toBe('ship');
  await expect.poll(() => aborted).toBeGreaterThan(0);
  await notice('model classify').locator('button', { hasText: 'Try again' }).click();
  await modelOpen(page, `${hostUrl}/slow.safetensors`);
  expect(resumedAt).toBeGreaterThan(100_000);
});

it('explains what is wrong with a broken file, and keeps working', async () => {
  await visit(page, site.url, { backend: 'wasm' });
  const whole = await readFile(checkpoints['pvt_v2_nano.cifar10'].url);
  await loadFile(page, 'cut.safetensors', whole.subarray(0, whole.length >> 1));
  await notice('model classify').waitFor();
  expect(await notice('model classify').textContent()).toContain('cut.safetensors: ');
  await modelOpen(page, 'pvt_v2_nano.cifar10');
  // A checkpoint without a detection head is not a broken one.
  await page.click('#tab-detect');
  await loadFile(page, 'segmenter.safetensors', segmenterFile());
  await notice('model detect').waitFor();
  expect(await notice('model detect').textContent()).toContain('without the head that this task needs');
  // The same for an image.
  await page.setInputFiles('.viewer input[type=file]', {
    name: 'broken.png',
    mimeType: 'image/png',
    buffer: Buffer.from('no image'),
  });
  await notice('image').waitFor();
  expect(await notice('image').textContent()).toContain('broken.png is not an image');
});

it('classifies an image of the visitor as the command does', async () => {
  await visit(page, site.url, { backend: 'wasm' });
  await page.click('[data-sample=airplane]');
  await page.waitForFunction(() => document.querySelector('.bars .name')?.textContent === 'airplane');
  await page.setInputFiles('.viewer input[type=file]', sample);
  await page.waitForFunction(() => document.querySelector('.bars .name')?.textContent === 'ship');
  const { predictions } = pvt<{ predictions: { label: string; probability: number }[] }>('classify');
  expect(await texts(page, '.bars .name')).toEqual(predictions.map(({ label }) => label));
});

it('starts again after it has lost its graphics context', async () => {
  await visit(page, site.url, { backend: 'webgl' });
  const before = await texts(page, '.bars li');
  await loseContext(page);
  await notice('lost').waitFor({ timeout: 60_000 });
  expect(await notice('lost').textContent()).toContain('It was started again');
  await page.click('[data-sample=airplane]');
  await page.waitForFunction(
    () => document.querySelector('.bars .name')?.textContent === 'airplane',
    undefined,
    { timeout: 60_000 },
  );
  await page.click('[data-sample=ship]');
  await page.waitForFunction(() => document.querySelector('.bars .name')?.textContent === 'ship');
  await settled(page);
  expect(await texts(page, '.bars li')).toEqual(before);
  expect(await page.getAttribute('body', 'data-backend')).toBe('webgl');
});

it('classifies camera images, drops those that come too fast, and explains a denied permission', async () => {
  await visit(page, site.url, { backend: 'wasm' });
  await page.click('button:text-is("Camera")');
  await notice('camera').waitFor();
  expect(await notice('camera').textContent()).toContain('Access to the camera was denied');
  await context.grantPermissions(['camera']);
  await notice('camera').locator('button', { hasText: 'Try again' }).click();
  await page.waitForFunction(
    () => /^[\d.]+ of \d+ camera images per second$/.test(document.querySelector('.frames')!.textContent!),
    undefined,
    { timeout: 30_000 },
  );
  await page.waitForFunction(() => Number(document.body.dataset['runs']) > 12);
  const { tensors } = await counts(page);
  await page.waitForFunction(() => Number(document.body.dataset['runs']) > 30);
  await page.click('button:text-is("Stop camera")');
  await settled(page);
  expect((await counts(page)).tensors).toBeLessThanOrEqual(tensors);
});

it('chooses a backend by timing those that pass their self-check', async () => {
  await visit(page, site.url);
  await page.waitForFunction(() => localStorage.getItem('pvt.checks') !== null, undefined, {
    timeout: 120_000,
  });
  await settled(page);
  const { findings } = JSON.parse((await page.evaluate(() => localStorage.getItem('pvt.checks')))!) as {
    findings: { backend: string; passed?: boolean; error?: number; small?: { milliseconds: number } }[];
  };
  expect(findings.map(({ backend, passed }) => [backend, passed])).toEqual([
    ['wasm', true],
    ['webgl', true],
    ['webgpu', true],
  ]);
  expect(Math.max(...findings.map(({ error }) => error!))).toBeLessThan(2e-5);
  expect(await page.getAttribute('body', 'data-backend')).toBe('wasm');
});

it('fine-tunes on a few images, and the command reads the result', async () => {
  await visit(page, site.url, { backend: 'wasm', tab: 'tune' });
  await page.click('button:text-is("Fill with drawn examples")');
  await page.waitForFunction(() => document.querySelectorAll('.thumbnail').length === 16);
  await page.click('button:text-is("Train")');
  await page.waitForFunction(
    () => document.querySelector('.tune-status')!.textContent!.startsWith('Done'),
    undefined,
    { timeout: 60_000 },
  );
  expect(await page.textContent('.tune-status')).toContain('16 of your 16 images correct');
  await page.waitForFunction(() => document.querySelector('.try .name')?.textContent === 'dots');
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.click('a:text-is("Download .safetensors")'),
  ]);
  expect(download.suggestedFilename()).toBe('stripes-dots.safetensors');
  const { predictions } = pvt<{ predictions: { index: number }[] }>('classify', {
    options: ['--weights', await download.path()],
  });
  expect(predictions.map(({ index }) => index).toSorted()).toEqual([0, 1]);
  await page.click('button:text-is("Use under Classify")');
  await modelOpen(page, 'stripes-dots.safetensors');
  expect(await page.textContent('.bars li:first-child .name')).toBe('dots');
});

it('continues a training run after the device is lost', async () => {
  await visit(page, site.url, { backend: 'webgl', tab: 'tune' });
  await page.click('button:text-is("Fill with drawn examples")');
  await page.waitForFunction(() => document.querySelectorAll('.thumbnail').length === 16);
  await page.fill('input[type=number]', '150');
  await page.click('button:text-is("Train")');
  await page.waitForFunction(
    () => Number(/^(\d+) of 150 steps/.exec(document.querySelector('.tune-status')!.textContent!)?.[1]) > 20,
    undefined,
    { timeout: 120_000 },
  );
  await loseContext(page);
  await page.waitForFunction(
    () => document.querySelector('.tune-status')!.textContent!.startsWith('Done'),
    undefined,
    { timeout: 120_000 },
  );
  expect(await page.textContent('.tune-status')).toMatch(
    /^Done after 150 steps in .*: 16 of your 16 images correct/,
  );
});

it('keeps the shell within its budget and free of model code', async () => {
  const { shellBudget, shellSize } = await import('../scripts/sizes.mjs');
  expect(shellSize()).toBeLessThan(shellBudget);
  const scripts: string[] = [];
  page.on(
    'request',
    (request) => request.resourceType() === 'script' && scripts.push(new URL(request.url()).pathname),
  );
  await context.route(/engine-/, (route) => route.abort());
  await page.goto(site.url);
  await page.waitForFunction(() => document.querySelectorAll('[role=tab]').length === 5);
  expect(scripts.filter((path) => !/\/(index|engine)-/.test(path))).toEqual([]);
  await notice('start').waitFor();
  expect(await notice('start').textContent()).toContain('could not be loaded');
});
