import { parentPort, workerData } from 'node:worker_threads';
import { PvtError } from '@pvt/core';
import { createPreparer, type Plan, type Prepared } from './batches/prepare.ts';
import type { Task } from './dataSet.ts';
import { fileOpener } from './opener.ts';
import type { Answer, Request } from './workers.ts';

const port = parentPort!;
const prepare = createPreparer(workerData as Plan, fileOpener);
const answer = (message: Answer): void => port.postMessage(message);

port.on('message', ({ id, job }: Request) => {
  prepare(job).then(
    (prepared: Prepared<Task>) => answer({ id, prepared }),
    // What threads hand over loses its class.
    (error: unknown) => answer({ id, error, ...(error instanceof PvtError && { code: error.code }) }),
  );
});
