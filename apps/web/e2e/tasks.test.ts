import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launch } from './browser.ts';
import { detector, segmenter } from './checkpoints.ts';
import { loadFile, modelOpen, pvt, texts, visit } from './page.ts';
import { serveDist } from './serve.ts';

const folder = mkdtempSync(join(tmpdir(), 'pvt-web-'));
const files = { segmenter: join(folder, 'segmenter.safetensors'), detector: join(folder, 'detector.safetensors') };
let browser: Browser;
let server: Awaited<ReturnType<typeof serveDist>>;
/** What the `pvt` command says of the same picture. */
let told: { readonly label: string; readonly share: number; readonly region: number; readonly score: number; readonly object: number };

beforeAll(async () => {
  writeFileSync(files.segmenter, segmenter());
  writeFileSync(files.detector, detector());
  const { predictions } = pvt<{ predictions: { label: string }[] }>('classify');
  const { classes } = pvt<{ classes: { label: number; share: number }[] }>('segment', '--weights', files.segmenter, '--size', '64x192');
  const { detections } = pvt<{ detections: { label: number; score: number }[] }>('detect', '--weights', files.detector, '--size', '64x192', '--score', '0.3');
  const largest = classes.toSorted((a, b) => b.share - a.share)[0]!;
  told = { label: predictions[0]!.label, share: largest.share, region: largest.label, score: detections[0]!.score, object: detections[0]!.label };
  server = await serveDist();
  browser = await launch();
});
afterAll(async () => {
  await browser.close();
  await server.close();
  rmSync(folder, { recursive: true });
});

describe.each(['wasm', 'webgl', 'webgpu'])('on %s', (backend) => {
  let page: Page;
  beforeAll(async () => {
    page = await browser.newPage();
    await visit(page, server.url, { backend, side: 64 });
  });
  afterAll(() => page.close());

  const percentOf = (text: string) => Number(/([\d.]+) %/.exec(text)![1]);

  it('classifies the sample as the command does', async () => {
    expect(await page.getAttribute('body', 'data-backend')).toBe(backend);
    expect(await page.textContent('.bars li:first-child .name')).toBe(told.label);
  });

  it('segments it alike', async () => {
    await page.click('#tab-segment');
    await page.waitForSelector('.legend .empty');
    await loadFile(page, 'segmenter.safetensors', segmenter());
    await modelOpen(page, 'segmenter.safetensors');
    expect(await page.textContent('.legend li:first-child .name')).toBe(String(told.region));
    expect(Math.abs(percentOf((await page.textContent('.legend li:first-child .value'))!) - 100 * told.share)).toBeLessThan(1.01);
  });

  it('detects alike', async () => {
    await page.click('#tab-detect');
    await page.waitForSelector('.legend .empty');
    await loadFile(page, 'detector.safetensors', detector());
    await modelOpen(page, 'detector.safetensors');
    expect(await page.textContent('.legend li:first-child .name')).toBe(String(told.object));
    expect(Math.abs(percentOf((await page.textContent('.legend li:first-child .value'))!) - 100 * told.score)).toBeLessThan(1.01);
  });

  it('shows the pyramid and who looks where', async () => {
    await page.click('#tab-explore');
    await modelOpen(page, 'pvt_v2_nano.cifar10');
    expect(await texts(page, 'figcaption')).toEqual([16, 32, 80, 128].map((channels, i) => `Stage ${i + 1} stride ${4 * 2 ** i}, ${[16 / 2 ** i, 24 / 2 ** i, channels].join(' × ')}`));
    await page.locator('.frame').click({ position: { x: 5, y: 5 } });
    await page.waitForFunction(() => document.querySelector('.attention-text')?.textContent?.startsWith('Row 1, column 1 of 16 × 24 tokens asks; 2 × 3 keys answer.'));
    expect(await page.textContent('.architecture h2')).toBe('PVT v2 at 64 × 96 pixels');
  });
});
