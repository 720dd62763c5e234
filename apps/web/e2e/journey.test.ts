import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFile } from 'node:fs/promises';
import { checkpoints } from '@pvt/checkpoints';
import type { Browser, BrowserContext, Page } from 'playwright';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { launch } from './browser.ts';
import { segmenter } from './checkpoints.ts';
import { counts, loadFile, loseContext, modelOpen, pvt, sample, settled, texts, visit } from './page.ts';
import { serveDist } from './serve.ts';

let browser: Browser;
let context: BrowserContext;
let page: Page;
let site: Awaited<ReturnType<typeof serveDist>>;
/** A host of models elsewhere: at once under /whole; under /slow its first half, and the rest to whom asks for that. */
let host: Server;
let elsewhere = '';
let broken = 0;
let resumed = 0;

beforeAll(async () => {
  const weights = await readFile(checkpoints['pvt_v2_nano.cifar10'].url);
  host = createServer((request, response) => {
    response
      .setHeader('access-control-allow-origin', '*')
      .setHeader('access-control-expose-headers', '*')
      .setHeader('content-length', weights.length);
    response.setHeader('access-control-allow-headers', '*').setHeader('etag', '"one"');
    const [, from] = /^bytes=(\d+)-/.exec(request.headers.range ?? '') ?? [];
    if (request.method !== 'GET') response.setHeader('content-length', 0).end();
    else if (from !== undefined) {
      resumed = Number(from);
      response
        .writeHead(206, {
          'content-length': weights.length - resumed,
          'content-range': `bytes ${resumed}-${weights.length - 1}/${weights.length}`,
        })
        .end(weights.subarray(resumed));
    } else if (request.url!.startsWith('/slow')) {
      response.write(weights.subarray(0, 200_000));
      setTimeout(() => response.write(weights.subarray(200_000, 400_000)), 300);
      response.on('close', () => broken++);
    } else response.end(weights);
  });
  await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
  elsewhere = `http://127.0.0.1:${(host.address() as AddressInfo).port}`;
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
const ask = async (name: string) => {
  await page.click('.model');
  await page.fill('dialog input[type=text]', name);
  await page.click('dialog button:text-is("Load")');
};

it('asks no other host for anything', async () => {
  const hosts = new Set<string>();
  context.on('request', (request) => hosts.add(new URL(request.url()).host));
  await visit(page, site.url, { backend: 'wasm' });
  await page.click('#tab-explore');
  await modelOpen(page, 'pvt_v2_nano.cifar10');
  hosts.delete('');
  expect([...hosts]).toEqual([new URL(site.url).host]);
});

it('changes models: the one that comes along, one from elsewhere, a file, and back', async () => {
  await visit(page, site.url, { backend: 'wasm' });
  const first = await texts(page, '.bars li');
  await ask(`${elsewhere}/whole.safetensors`);
  await modelOpen(page, `${elsewhere}/whole.safetensors`);
  expect(await texts(page, '.bars li')).toEqual(first);
  await loadFile(page, 'mine.safetensors', await readFile(checkpoints['pvt_v2_nano.cifar10'].url));
  await modelOpen(page, 'mine.safetensors');
  expect(await texts(page, '.bars li')).toEqual(first);
  expect(await texts(page, '.times dt')).toEqual(['download', 'load', 'warm-up', 'image']);
});

it('stops a download, keeps the model before, and goes on where it stopped', async () => {
  await visit(page, site.url, { backend: 'wasm' });
  await ask(`${elsewhere}/slow.safetensors`);
  await page.waitForFunction(() =>
    document.querySelector('.loading span')?.textContent?.match(/^0\.[1-4] MB of 1\.8 MB/),
  );
  await page.click('.loading button');
  await notice('model classify').waitFor();
  expect(await notice('model classify').textContent()).toContain('was stopped');
  await modelOpen(page, 'pvt_v2_nano.cifar10');
  expect(await page.textContent('.bars li:first-child .name')).toBe('ship');
  await expect.poll(() => broken).toBeGreaterThan(0);
  await notice('model classify').locator('button', { hasText: 'Try again' }).click();
  await modelOpen(page, `${elsewhere}/slow.safetensors`);
  expect(resumed).toBeGreaterThan(100_000);
});

it('says of a broken file what is wrong, and goes on', async () => {
  await visit(page, site.url, { backend: 'wasm' });
  const whole = await readFile(checkpoints['pvt_v2_nano.cifar10'].url);
  await loadFile(page, 'cut.safetensors', whole.subarray(0, whole.length >> 1));
  await notice('model classify').waitFor();
  expect(await notice('model classify').textContent()).toContain('cut.safetensors: ');
  await modelOpen(page, 'pvt_v2_nano.cifar10');
  // A checkpoint of another task is told apart from one that is broken.
  await page.click('#tab-detect');
  await loadFile(page, 'segmenter.safetensors', segmenter());
  await notice('model detect').waitFor();
  expect(await notice('model detect').textContent()).toContain('without the head that this task needs');
  // And so is an image that is none.
  await page.setInputFiles('.viewer input[type=file]', {
    name: 'broken.png',
    mimeType: 'image/png',
    buffer: Buffer.from('no image'),
  });
  await notice('image').waitFor();
  expect(await notice('image').textContent()).toContain('broken.png is not an image');
});

it('takes an image of the visitor as the command does', async () => {
  await visit(page, site.url, { backend: 'wasm' });
  await page.click('[data-sample=airplane]');
  await page.waitForFunction(() => document.querySelector('.bars .name')?.textContent === 'airplane');
  await page.setInputFiles('.viewer input[type=file]', sample);
  await page.waitForFunction(() => document.querySelector('.bars .name')?.textContent === 'ship');
  const { predictions } = pvt<{ predictions: { label: string; probability: number }[] }>('classify');
  expect(await texts(page, '.bars .name')).toEqual(predictions.map(({ label }) => label));
});

it('starts again after the graphics context was lost', async () => {
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

it('follows the camera, drops what comes too fast, and says when it is refused', async () => {
  await visit(page, site.url, { backend: 'wasm' });
  await page.click('button:text-is("Camera")');
  await notice('camera').waitFor();
  expect(await notice('camera').textContent()).toContain('The camera was refused');
  await context.grantPermissions(['camera']);
  await notice('camera').locator('button', { hasText: 'Try again' }).click();
  await page.waitForFunction(
    () => /^[\d.]+ of \d+ camera images a second$/.test(document.querySelector('.frames')!.textContent!),
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

it('chooses a backend by itself, by timing those that compute rightly', async () => {
  await visit(page, site.url);
  await page.waitForFunction(() => localStorage.getItem('pvt.checks') !== null, undefined, {
    timeout: 120_000,
  });
  await settled(page);
  const { findings } = JSON.parse((await page.evaluate(() => localStorage.getItem('pvt.checks')))!) as {
    findings: { backend: string; right?: boolean; error?: number; small?: { milliseconds: number } }[];
  };
  expect(findings.map(({ backend, right }) => [backend, right])).toEqual([
    ['wasm', true],
    ['webgl', true],
    ['webgpu', true],
  ]);
  expect(Math.max(...findings.map(({ error }) => error!))).toBeLessThan(2e-5);
  expect(await page.getAttribute('body', 'data-backend')).toBe('wasm');
});

it('learns from a few images, and the command reads what it has learnt', async () => {
  await visit(page, site.url, { backend: 'wasm', tab: 'tune' });
  await page.click('button:text-is("Fill with drawn examples")');
  await page.waitForFunction(() => document.querySelectorAll('.thumbnail').length === 16);
  await page.click('button:text-is("Train")');
  await page.waitForFunction(
    () => document.querySelector('.tune-status')!.textContent!.startsWith('Done'),
    undefined,
    { timeout: 60_000 },
  );
  expect(await page.textContent('.tune-status')).toContain('16 of your 16 images right');
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

it('loses nothing that was trained when the device is lost', async () => {
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
    /^Done after 150 steps in .*: 16 of your 16 images right/,
  );
});

it('fits the shell into its budget, without a word of model code', async () => {
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
