/**
 * Writes screenshots of every tab, on a desktop and a phone, in light and dark, to `screenshots/`:
 * `pnpm --filter @pvt/web screenshots`.
 */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright';
import { launch } from '../e2e/browser.ts';
import { settled, visit } from '../e2e/page.ts';
import { serveDist } from '../e2e/serve.ts';

const folder = fileURLToPath(new URL('../screenshots/', import.meta.url));
mkdirSync(folder, { recursive: true });

const trainOnShapes = async (page: Page) => {
  await page.click('button:text-is("Fill with drawn examples")');
  await page.waitForFunction(() => document.querySelectorAll('.thumbnail').length === 16);
  await page.click('button:text-is("Train")');
  await page.waitForFunction(
    () => document.querySelector('.tune-status')!.textContent!.startsWith('Done'),
    undefined,
    { timeout: 60_000 },
  );
};
const showAttention = async (page: Page) => {
  await page.locator('.frame').click({ position: { x: 120, y: 90 } });
  await page.locator('details[data-stage="0"] summary').click();
};
interface Shot {
  readonly tab: string;
  /** Default: the tab's. */
  readonly name?: string;
  readonly sample?: string;
  /** Done before the screenshot. */
  readonly act?: (page: Page) => Promise<void>;
}

const shots: readonly Shot[] = [
  { tab: 'classify' },
  { tab: 'segment', sample: 'nuclei' },
  { tab: 'detect', sample: 'blood' },
  { tab: 'explore', act: showAttention },
  { tab: 'tune', act: trainOnShapes },
  { tab: 'classify', name: 'models', act: (page) => page.click('.model') },
];

const server = await serveDist();
const browser = await launch();
for (const [device, width, height, colorScheme] of [
  ['desktop', 1280, 860, 'light'],
  ['phone', 390, 844, 'light'],
  ['desktop-dark', 1280, 860, 'dark'],
] as const) {
  const page = await browser.newPage({
    viewport: { width, height },
    colorScheme,
    deviceScaleFactor: device === 'phone' ? 2 : 1,
  });
  for (const { tab, name = tab, sample, act } of shots) {
    await page.goto('about:blank');
    await visit(page, server.url, { backend: 'wasm', tab });
    if (sample !== undefined) {
      await page.click(`[data-sample=${sample}]`);
      await page.waitForTimeout(300);
      await settled(page);
    }
    await act?.(page);
    await settled(page);
    await page.evaluate(() => scrollTo(0, 0));
    await page.waitForTimeout(200);
    await page.screenshot({ path: `${folder}${name}-${device}.png`, fullPage: true });
    console.log(`${folder}${name}-${device}.png`);
  }
  await page.close();
}
await browser.close();
await server.close();
