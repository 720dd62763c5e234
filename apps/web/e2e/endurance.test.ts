import type { Browser } from 'playwright';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launch } from './browser.ts';
import { runFrames, switchModels } from './endurance.ts';
import { visit } from './page.ts';
import { serveDist, type Site } from './serve.ts';

let browser: Browser;
let server: Site;
beforeAll(async () => {
  server = await serveDist();
  browser = await launch(['--use-fake-ui-for-media-stream']);
});
afterAll(async () => {
  await browser.close();
  await server.close();
});

// `pnpm --filter @pvt/web endurance` does the same 200 and 1,000 times, on webgl too.
it('uses no more memory after many models and many images', async () => {
  const page = await browser.newPage();
  await visit(page, server.url, { backend: 'wasm', side: 64 });
  const models = await switchModels(page, 24);
  expect(models.after).toEqual(models.before);
  const frames = await runFrames(page, 60);
  expect(frames.after).toEqual(frames.before);
});
