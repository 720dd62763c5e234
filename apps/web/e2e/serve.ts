import { fileURLToPath } from 'node:url';
import { preview, type PreviewServer } from 'vite';

export interface Site {
  readonly url: string;
  readonly close: () => Promise<void>;
}

/** Serves the built page like a static host. Build it first. */
export async function serveDist(): Promise<Site> {
  const server: PreviewServer = await preview({
    root: fileURLToPath(new URL('..', import.meta.url)),
    logLevel: 'error',
    preview: { port: 0, host: '127.0.0.1' },
  });
  return { url: server.resolvedUrls!.local[0]!, close: () => server.close() };
}
