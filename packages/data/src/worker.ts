import { parentPort, workerData } from 'node:worker_threads';
import { PvtError } from '@pvt/core';
import { createPreparer, type PrepareOptions } from './batches/prepare.ts';
import { fileReader } from './fileReader.ts';
import type { WorkerRequest, WorkerResponse } from './workers.ts';

const port = parentPort!;
const prepare = createPreparer(workerData as PrepareOptions, fileReader);

port.on('message', ({ id, request }: WorkerRequest) => {
  prepare(request).then(
    (prepared) => {
      const response: WorkerResponse = { id, prepared };
      // Moved, not copied: nothing here uses the pixels again.
      port.postMessage(response, [prepared.input.values.buffer as ArrayBuffer]);
    },
    (error: unknown) => {
      // Errors lose their class on the way to another thread, so the code goes along.
      const response: WorkerResponse = { id, error, ...(error instanceof PvtError && { code: error.code }) };
      port.postMessage(response);
    },
  );
});
