import { Worker } from 'node:worker_threads';
import { workerSource } from '../generated/workerSource.ts';
import type { Platform } from './platform.ts';

const source = [
  "const { parentPort } = require('node:worker_threads');",
  workerSource,
  'const reply = (message, transfer) => parentPort.postMessage(message, transfer);',
  "parentPort.on('message', createMessageHandler(reply));",
].join('\n');

/** Workers of Node. */
export const nodePlatform: Platform = {
  hasWorkers: () => true,
  canShareMemory: () => typeof SharedArrayBuffer === 'function',
  openWorker({ onReply, onFailure }) {
    const worker = new Worker(source, { eval: true });
    worker.on('message', onReply);
    worker.on('error', onFailure);
    worker.on('exit', (code) => onFailure(`exit ${code}`));
    return {
      post: (message) => worker.postMessage(message, []),
      terminate: () => void worker.terminate(),
      keepAlive: (active) => (active ? worker.ref() : worker.unref()),
    };
  },
};
