import { Worker } from 'node:worker_threads';
import type { Runner } from './batches/loader.ts';
import type { Job, Plan, Prepared } from './batches/prepare.ts';
import type { Task } from './dataSet.ts';
import { DataError, reason } from './errors.ts';

export interface Request {
  readonly id: number;
  readonly job: Job<Task, string>;
}

export type Answer =
  | { readonly id: number; readonly prepared: Prepared<Task> }
  | { readonly id: number; readonly error: unknown; readonly code?: string };

interface Pending {
  resolve(prepared: Prepared<Task>): void;
  reject(reason: unknown): void;
}

/** One thread and what is asked of it. It holds the process only while it owes an answer. */
function startWorker(plan: Plan) {
  // In the sources worker.js is a file that loads worker.ts. Node's own options (--input-type, --import) are meant for this thread.
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: plan, execArgv: [] });
  const pending = new Map<number, Pending>();
  let id = 0;
  const fail = (cause: unknown) => {
    for (const { reject } of pending.values()) reject(cause);
    pending.clear();
  };
  worker.unref();
  worker.on('message', (answer: Answer) => {
    const asked = pending.get(answer.id);
    pending.delete(answer.id);
    if (pending.size === 0) worker.unref();
    if ('prepared' in answer) asked?.resolve(answer.prepared);
    else
      asked?.reject(
        answer.code === undefined
          ? answer.error
          : new DataError(answer.code, reason(answer.error), {
              cause: answer.error instanceof Error ? answer.error.cause : undefined,
            }),
      );
  });
  let end: unknown;
  worker.on(
    'error',
    (cause) =>
      (end = new DataError(
        'worker-failed',
        `createLoader: expected a worker that prepares images, got its end (${reason(cause)}); use workers: 0 to see where.`,
        { cause },
      )),
  );
  worker.on('exit', (code) =>
    fail(
      (end ??= new DataError(
        'worker-failed',
        `createLoader: expected a worker that prepares images, got its end with code ${code}; lower the number of workers where memory is short.`,
      )),
    ),
  );
  return {
    run: (job: Job<Task, string>): Promise<Prepared<Task>> =>
      new Promise((resolve, reject) => {
        if (end !== undefined) return reject(end);
        pending.set(++id, { resolve, reject });
        worker.ref();
        worker.postMessage({ id, job } satisfies Request, []);
      }),
    async close(cause: unknown) {
      end = cause;
      fail(cause);
      await worker.terminate();
    },
  };
}

/** Samples prepared in threads; a sample always comes to the same one, which may have kept it. */
export function inWorkers<K extends Task>(count: number, plan: Plan): Runner<K, string> {
  const workers = Array.from({ length: count }, () =>
    startWorker({ ...plan, cacheBytes: Math.floor(plan.cacheBytes / count) }),
  );
  return {
    run: (job) =>
      workers[job.index % count]!.run(job as unknown as Job<Task, string>) as Promise<Prepared<K>>,
    close: async (cause) => void (await Promise.all(workers.map((worker) => worker.close(cause)))),
  };
}
