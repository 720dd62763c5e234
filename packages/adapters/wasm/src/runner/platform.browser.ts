import { workerSource } from '../generated/workerSource.ts';
import type { Platform } from './platform.ts';
import type { Reply } from './worker.js';

const source = [
  workerSource,
  'const handle = createMessageHandler((message, transfer) => postMessage(message, transfer));',
  'onmessage = ({ data }) => handle(data);',
].join('\n');

/** Workers of a page, and of other runtimes that have the Web's workers. */
export const browserPlatform: Platform = {
  hasWorkers: () => typeof Worker === 'function',
  canShareMemory: () =>
    typeof SharedArrayBuffer === 'function' &&
    (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated === true,
  openWorker({ onReply, onFailure }) {
    const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
    const worker = new Worker(url);
    worker.addEventListener('message', ({ data }) => onReply(data as Reply));
    worker.addEventListener('error', ({ message }) => onFailure(message || 'an error before it started'));
    // A worker that replies has loaded its source. Until the URL is revoked, the source stays in memory.
    worker.addEventListener('message', () => URL.revokeObjectURL(url), { once: true });
    return {
      post: (message) => worker.postMessage(message, []),
      terminate: () => worker.terminate(),
      keepAlive: () => undefined,
    };
  },
};
