import type { Page } from 'playwright';
import { segmenter } from './checkpoints.ts';
import { counts, loadFile, modelOpen, settled, type Counts } from './page.ts';

export interface Growth {
  readonly before: Counts;
  readonly after: Counts;
}

/** Opens two models in turn, so many times, and counts what the worker holds after the first rounds and after the last. */
export async function switchModels(page: Page, switches: number): Promise<Growth> {
  await page.click('#tab-segment');
  await settled(page);
  await loadFile(page, 'segmenter.safetensors', segmenter());
  await modelOpen(page, 'segmenter.safetensors');
  const round = async () => {
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
  await round();
  await round();
  const before = await counts(page);
  for (let done = 4; done < switches; done += 2) await round();
  return { before, after: await counts(page) };
}

/** Has so many images of the camera classified, and counts before and after. */
export async function runFrames(page: Page, frames: number): Promise<Growth> {
  await page.click('#tab-classify');
  await settled(page);
  await page.click('button:text-is("Camera")');
  const ran = () => page.evaluate(() => Number(document.body.dataset['runs']));
  const until = (runs: number) =>
    page.waitForFunction((wanted) => Number(document.body.dataset['runs']) >= wanted, runs, {
      timeout: 600_000,
    });
  // Between two frames, when none is worked on.
  const idle = async () => {
    await page.click('button:text-is("Stop camera")');
    await settled(page);
    const found = await counts(page);
    return found;
  };
  const start = await ran();
  await until(start + Math.min(10, frames / 4));
  const before = await idle();
  await page.click('button:text-is("Camera")');
  await until(start + frames);
  return { before, after: await idle() };
}
