import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { microscopy } from '@pvt/checkpoints-microscopy';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launch } from './browser.ts';
import { modelOpen, pvt, sampleImage, texts, visit } from './page.ts';
import { serveDist, type Site } from './serve.ts';

/** Shorter side of the inputs of segmenter and detector. It is small because software rendering is slow. */
const side = 96;
const folder = mkdtempSync(join(tmpdir(), 'pvt-web-'));
let browser: Browser;
let server: Site;
/** The results of the `pvt` command for the same images. */
let expected: {
  readonly label: string;
  readonly region: string;
  readonly share: number;
  readonly object: string;
  readonly score: number;
};

beforeAll(async () => {
  server = await serveDist();
  browser = await launch();
  const page = await browser.newPage();
  await visit(page, server.url, { backend: 'wasm', side });
  const images = { nuclei: join(folder, 'nuclei.png'), blood: join(folder, 'blood.png') };
  for (const [sample, tab] of [
    ['nuclei', 'segment'],
    ['blood', 'detect'],
  ] as const)
    writeFileSync(images[sample], await sampleImage(page, tab, sample));
  await page.close();
  const optionsFor = (name: keyof typeof microscopy) => [
    '--weights',
    fileURLToPath(microscopy[name].url),
    '--size',
    `${side}x${3 * side}`,
  ];
  const { predictions } = pvt<{ predictions: { label: string }[] }>('classify');
  const { classes } = pvt<{ classes: { label: number; share: number }[] }>('segment', {
    image: images.nuclei,
    options: optionsFor('pvt_v2_nano.nuclei'),
  });
  const { detections } = pvt<{ detections: { label: number; score: number }[] }>('detect', {
    image: images.blood,
    options: [...optionsFor('pvt_v2_nano.bccd'), '--score', '0.3'],
  });
  const largest = classes.toSorted((a, b) => b.share - a.share)[0]!;
  expected = {
    label: predictions[0]!.label,
    region: microscopy['pvt_v2_nano.nuclei'].labels[largest.label]!,
    share: largest.share,
    object: microscopy['pvt_v2_nano.bccd'].labels[detections[0]!.label]!,
    score: detections[0]!.score,
  };
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
    await visit(page, server.url, { backend, side });
  });
  afterAll(() => page.close());

  const percentOf = (text: string) => Number(/([\d.]+) %/.exec(text)![1]);
  /** The page shows whole percents. */
  const expectPercent = (text: string | null, share: number) =>
    expect(Math.abs(percentOf(text!) - 100 * share)).toBeLessThan(1.01);

  it('classifies its sample as the command does', async () => {
    expect(await page.getAttribute('body', 'data-backend')).toBe(backend);
    expect(await page.textContent('.bars li:first-child .name')).toBe(expected.label);
  });

  it('segments as the command does', async () => {
    await page.click('#tab-segment');
    await modelOpen(page, 'pvt_v2_nano.nuclei');
    await page.waitForFunction(
      () =>
        document.querySelector('canvas.image')?.ariaLabel === 'cell nuclei' &&
        !document.body.hasAttribute('aria-busy'),
    );
    expect(await page.textContent('.legend li:first-child .name')).toBe(expected.region);
    expectPercent(await page.textContent('.legend li:first-child .value'), expected.share);
  });

  it('detects as the command does', async () => {
    await page.click('#tab-detect');
    await modelOpen(page, 'pvt_v2_nano.bccd');
    await page.waitForFunction(
      () =>
        document.querySelector('canvas.image')?.ariaLabel === 'blood smear' &&
        !document.body.hasAttribute('aria-busy'),
    );
    expect(await page.textContent('.legend li:first-child .name')).toBe(expected.object);
    expectPercent(await page.textContent('.legend li:first-child .value'), expected.score);
  });

  it('shows the pyramid and the attention', async () => {
    await page.click('#tab-explore');
    await modelOpen(page, 'pvt_v2_nano.cifar10');
    expect(await texts(page, 'figcaption')).toEqual(
      [16, 32, 80, 128].map(
        (channels, i) =>
          `Stage ${i + 1} stride ${4 * 2 ** i}, ${[24 / 2 ** i, 32 / 2 ** i, channels].join(' × ')}`,
      ),
    );
    await page.locator('.frame').click({ position: { x: 5, y: 5 } });
    await page.waitForFunction(() =>
      document
        .querySelector('.attention-text')
        ?.textContent?.startsWith(
          'The query is the token in row 1, column 1 of 24 × 32; it attends to 3 × 4 keys.',
        ),
    );
    expect(await page.textContent('.architecture h2')).toBe('PVT v2 at 96 × 128 pixels');
  });
});
