import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright';

export const sample = fileURLToPath(new URL('../../cli/assets/sample.png', import.meta.url));
const command = fileURLToPath(new URL('../../cli/dist/pvt.js', import.meta.url));

/** The result of a `pvt` command for an image. Default: the page's first sample. */
export function pvt<T>(
  name: string,
  { image = sample, options = [] }: { readonly image?: string; readonly options?: readonly string[] } = {},
): T {
  const [result] = JSON.parse(
    execFileSync(process.execPath, [command, name, image, ...options, '--json'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  ) as T[];
  return result!;
}

/** Waits until the page has finished its work. */
export const settled = (page: Page): Promise<unknown> =>
  page.waitForFunction(
    () => document.body.dataset['backend'] !== '' && !document.body.hasAttribute('aria-busy'),
    undefined,
    { timeout: 120_000 },
  );

/** Opens the page and waits for its first result. Default: the page chooses the backend. */
export async function visit(
  page: Page,
  url: string,
  {
    tab = 'classify',
    ...query
  }: { readonly backend?: string; readonly side?: number; readonly tab?: string } = {},
): Promise<void> {
  const parameters = Object.entries(query).map(([name, value]) => [name, String(value)]);
  await page.goto(`${url}?${new URLSearchParams(parameters)}#${tab}`);
  await settled(page);
}

/** Opens a checkpoint file through the dialog of models. */
export async function loadFile(page: Page, name: string, bytes: Uint8Array): Promise<void> {
  await page.click('.model');
  await page.setInputFiles('dialog input[accept]', {
    name,
    mimeType: 'application/octet-stream',
    buffer: Buffer.from(bytes),
  });
}

/** Waits until the page shows that a model is open. */
export const modelOpen = (page: Page, title: string): Promise<unknown> =>
  page.waitForFunction(
    (wanted) =>
      document.querySelector<HTMLElement>('.model')?.dataset['id'] !== '' &&
      document.querySelector('.model .name')?.textContent === wanted &&
      !document.body.hasAttribute('aria-busy'),
    title,
    { timeout: 120_000 },
  );

/** A sample of the page as a PNG. */
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

/** Memory that tfjs counts in the worker. */
export interface Counts {
  readonly tensors: number;
  /** Bytes of textures on webgl, of the whole heap on wasm. */
  readonly bytes: number;
}

/** The worker's global scope, which exposes tfjs. */
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
      const { tf } = globalThis as typeof globalThis & TfGlobal;
      const { numTensors, numBytes, numBytesInGPUAllocated } = tf.memory();
      return {
        tensors: numTensors,
        bytes: numBytesInGPUAllocated ?? tf.backend().wasm?.HEAPU8.length ?? numBytes,
      };
    });

/** Makes the worker lose its graphics context, as a reset of the driver does. */
export const loseContext = (page: Page): Promise<void> =>
  page
    .workers()
    .at(-1)!
    .evaluate(() => {
      const { tf } = globalThis as typeof globalThis & TfGlobal;
      tf.backend().gpgpu.gl.getExtension('WEBGL_lose_context')!.loseContext();
    });
