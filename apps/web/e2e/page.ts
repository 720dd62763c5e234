import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright';

export const sample = fileURLToPath(new URL('../../cli/assets/sample.png', import.meta.url));
const command = fileURLToPath(new URL('../../cli/dist/pvt.js', import.meta.url));

/** What the command line answers about an image, the page's first sample where none is named. */
export function pvt<T>(
  name: string,
  { image = sample, options = [] }: { readonly image?: string; readonly options?: readonly string[] } = {},
): T {
  const answers = JSON.parse(
    execFileSync(process.execPath, [command, name, image, ...options, '--json'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  ) as T[];
  return answers[0]!;
}

/** Waits until the page has done what it was asked for. */
export const settled = (page: Page): Promise<unknown> =>
  page.waitForFunction(
    () => document.body.dataset['backend'] !== '' && !document.body.hasAttribute('aria-busy'),
    undefined,
    { timeout: 120_000 },
  );

/** Opens the page, on one backend unless it shall choose, and waits for its first answer. */
export async function visit(
  page: Page,
  url: string,
  {
    tab = 'classify',
    ...query
  }: { readonly backend?: string; readonly side?: number; readonly tab?: string } = {},
): Promise<void> {
  await page.goto(
    `${url}?${new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]))}#${tab}`,
  );
  await settled(page);
}

/** Picks a file as the visitor does who opens the dialog of models. */
export async function loadFile(page: Page, name: string, bytes: Uint8Array): Promise<void> {
  await page.click('.model');
  await page.setInputFiles('dialog input[accept]', {
    name,
    mimeType: 'application/octet-stream',
    buffer: Buffer.from(bytes),
  });
}

/** The model that the page says it has open. */
export const modelOpen = (page: Page, title: string): Promise<unknown> =>
  page.waitForFunction(
    (wanted) =>
      document.querySelector<HTMLElement>('.model')?.dataset['id'] !== '' &&
      document.querySelector('.model .name')?.textContent === wanted &&
      !document.body.hasAttribute('aria-busy'),
    title,
    { timeout: 120_000 },
  );

/** A sample as the page draws it, as a PNG. */
export async function sampleImage(page: Page, tab: string, id: string): Promise<Buffer> {
  await page.click(`#tab-${tab}`);
  await page.click(`[data-sample=${id}]`);
  await page.waitForFunction(
    (wanted) => document.querySelector(`[data-sample=${wanted}]`)?.ariaPressed === 'true',
    id,
  );
  const url = await page
    .locator('canvas.image')
    .evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
  return Buffer.from(url.slice(url.indexOf(',') + 1), 'base64');
}

export const texts = (page: Page, selector: string): Promise<string[]> =>
  page.locator(selector).allTextContents();

/** What tfjs counts in the worker. */
export interface Counts {
  readonly tensors: number;
  /** Of textures on webgl, of the whole heap on wasm. */
  readonly bytes: number;
}

interface TfGlobal {
  readonly tf: {
    memory(): {
      readonly numTensors: number;
      readonly numBytes: number;
      readonly numBytesInGPUAllocated?: number;
    };
    backend(): {
      readonly gpgpu: { readonly gl: WebGL2RenderingContext };
      readonly wasm?: { readonly HEAPU8: Uint8Array };
    };
  };
}

export const counts = (page: Page): Promise<Counts> =>
  page
    .workers()
    .at(-1)!
    .evaluate(() => {
      const { tf } = globalThis as unknown as TfGlobal;
      const { numTensors, numBytes, numBytesInGPUAllocated } = tf.memory();
      return {
        tensors: numTensors,
        bytes: numBytesInGPUAllocated ?? tf.backend().wasm?.HEAPU8.length ?? numBytes,
      };
    });

/** Takes the worker's graphics context away, as a driver that resets does. */
export const loseContext = (page: Page): Promise<void> =>
  page
    .workers()
    .at(-1)!
    .evaluate(() => {
      (globalThis as unknown as TfGlobal).tf
        .backend()
        .gpgpu.gl.getExtension('WEBGL_lose_context')!
        .loseContext();
    });
