/**
 * Opens models 200 times and classifies 1,000 camera images on each of the named backends, and prints the
 * memory before and after: `pnpm --filter @pvt/web endurance wasm webgl`. Default: wasm and webgl.
 */
import { launch } from '../e2e/browser.ts';
import { runFrames, switchModels, type MemoryUse } from '../e2e/endurance.ts';
import { visit } from '../e2e/page.ts';
import { serveDist } from '../e2e/serve.ts';

const backends = process.argv.slice(2);
const server = await serveDist();
const browser = await launch(['--use-fake-ui-for-media-stream']);
const format = ({ before, after }: MemoryUse) =>
  `${before.tensors} tensors before, ${after.tensors} after; ` +
  `${before.bytes.toLocaleString('en')} bytes before, ${after.bytes.toLocaleString('en')} after`;
for (const backend of backends.length > 0 ? backends : ['wasm', 'webgl']) {
  const page = await browser.newPage();
  await visit(page, server.url, { backend, side: 64 });
  console.log(`${backend}, 200 opened models: ${format(await switchModels(page, 200))}`);
  console.log(`${backend}, 1,000 images: ${format(await runFrames(page, 1000))}`);
  await page.close();
}
await browser.close();
await server.close();
