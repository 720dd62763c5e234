import type { Page } from 'playwright';
import { segmenterFile } from './checkpoints.ts';
import { counts, loadFile, modelOpen, settled, type Counts } from './page.ts';

/** What the worker holds before and after some work. */
export interface MemoryUse {
  readonly before: Counts;
  readonly after: Counts;
}

/** Opens two models in turn. Memory is counted from the third round on, when all caches are filled. */
export async function switchModels(page: Page, switches: number): Promise<MemoryUse> {
  await page.click('#tab-segment');
  await settled(page);
  await loadFile(page, 'segmenter.safetensors', segmenterFile());
  await modelOpen(page, 'segmenter.safetensors');
  const openBoth = async () => {
    for (const tab of ['classify', 'segment']) {
      await page.click(`#tab-${tab}`);
      await page.waitForFunction(
        (wanted) =>
          document.querySelector('.model .name')?.textContent === wanted &&
          document.querySelector<HTMLElement>('.model')!.dataset['id'] !== '' &&
          !document.body.hasAttribute('aria-busy'),
        tab === 'classify' ? 'pvt_v2_nano.cifar10' : 'segmenter.safetensors',
        { timeout: 120_000 },
      );
    }
  };
  await openBoth();
  await openBoth();
  const before = await counts(page);
  for (let done = 4; done < switches; done += 2) await openBoth();
  return { before, after: await counts(page) };
}

/** Classifies camera images. Memory is counted after the first ten of them and after the last. */
export async function runFrames(page: Page, frames: number): Promise<MemoryUse> {
  await page.click('#tab-classify');
  await settled(page);
  await page.click('button:text-is("Camera")');
  const countRuns = () => page.evaluate(() => Number(document.body.dataset['runs']));
  const waitForRuns = (runs: number) =>
    page.waitForFunction((wanted) => Number(document.body.dataset['runs']) >= wanted, runs, {
      timeout: 600_000,
    });
  const stopAndCount = async () => {
    await page.click('button:text-is("Stop camera")');
    await settled(page);
    return counts(page);
  };
  const start = await countRuns();
  await waitForRuns(start + Math.min(10, frames / 4));
  const before = await stopAndCount();
  await page.click('button:text-is("Camera")');
  await waitForRuns(start + frames);
  return { before, after: await stopAndCount() };
}
