import { fileURLToPath } from 'node:url';
import { preview, type PreviewServer } from 'vite';

/** Serves the built page as any static host would; build first. */
export async function serveDist(): Promise<{ readonly url: string; readonly close: () => Promise<void> }> {
  const server: PreviewServer = await preview({
    root: fileURLToPath(new URL('..', import.meta.url)),
    logLevel: 'error',
    preview: { port: 0, host: '127.0.0.1' },
  });
  return { url: server.resolvedUrls!.local[0]!, close: () => server.close() };
}
