import { Worker } from 'node:worker_threads';
import type { SamplePreparer } from './batches/loader.ts';
import type { PreparedSample, PrepareOptions, SampleRequest } from './batches/prepare.ts';
import type { FileSource, Task } from './dataSet.ts';
import { DataError, reason } from './errors.ts';

export interface WorkerRequest {
  readonly id: number;
  readonly request: SampleRequest<Task, FileSource>;
}

export type WorkerResponse =
  | { readonly id: number; readonly prepared: PreparedSample<Task> }
  | { readonly id: number; readonly error: unknown; readonly code?: string };

interface Pending {
  resolve(prepared: PreparedSample<Task>): void;
  reject(reason: unknown): void;
}

/** One thread and its pending requests. It keeps the process alive only while there are any. */
class PreparingWorker {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  /** Why the worker no longer answers. */
  #end: unknown;

  constructor(options: PrepareOptions) {
    // In the sources worker.js is a file that loads worker.ts. Node's own options (--input-type, --import)
    // are meant for the main thread.
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: options, execArgv: [] });
    this.#worker.unref();
    this.#worker.on('message', (response: WorkerResponse) => this.#settle(response));
    this.#worker.on('error', (cause) => {
      this.#end = new DataError(
        'worker-failed',
        `createLoader: expected a worker that prepares images, got its end (${reason(cause)}); ` +
          'use workers: 0 to see where it fails.',
        { cause },
      );
    });
    this.#worker.on('exit', (code) => {
      this.#end ??= new DataError(
        'worker-failed',
        `createLoader: expected a worker that prepares images, got its end with code ${code}; ` +
          'use fewer workers if memory is short.',
      );
      this.#rejectAll(this.#end);
    });
  }

  run(request: SampleRequest<Task, FileSource>): Promise<PreparedSample<Task>> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end);
      const id = ++this.#lastId;
      this.#pending.set(id, { resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage({ id, request } satisfies WorkerRequest, []);
    });
  }

  async close(cause: unknown): Promise<void> {
    this.#end = cause;
    this.#rejectAll(cause);
    await this.#worker.terminate();
  }

  #settle(response: WorkerResponse): void {
    const pending = this.#pending.get(response.id);
    this.#pending.delete(response.id);
    if (this.#pending.size === 0) this.#worker.unref();
    if ('prepared' in response) pending?.resolve(response.prepared);
    else pending?.reject(errorOf(response));
  }

  #rejectAll(cause: unknown): void {
    for (const { reject } of this.#pending.values()) reject(cause);
    this.#pending.clear();
  }
}

/** The error that a worker sent, with the class that it lost on the way. */
function errorOf({ error, code }: { readonly error: unknown; readonly code?: string }): unknown {
  if (code === undefined) return error;
  return new DataError(code, reason(error), { cause: error instanceof Error ? error.cause : undefined });
}

/** Prepares samples in threads. A sample always goes to the same thread, which may have cached it. */
export function prepareInWorkers<K extends Task>(
  count: number,
  options: PrepareOptions,
): SamplePreparer<K, FileSource> {
  const share = { ...options, cacheBytes: Math.floor(options.cacheBytes / count) };
  const workers = Array.from({ length: count }, () => new PreparingWorker(share));
  return {
    run: (request) => workers[request.index % count]!.run(request) as Promise<PreparedSample<K>>,
    close: async (cause) => void (await Promise.all(workers.map((worker) => worker.close(cause)))),
  };
}
