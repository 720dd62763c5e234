import { BackendError } from '@pvt/core';
import { threadText } from './binary.ts';
import { serve, type Answer, type Order, type Start } from './serve.js';

/** Threads over one memory, as far as the platform has them. */
export interface Threads {
  readonly count: number;
  /** Why there are fewer than asked for, or why they do not run beside the caller. */
  readonly limitation?: string;
  /** Lets all threads run the same order, one order after the other. */
  send(order: Order): Promise<readonly ArrayBuffer[]>;
  /** What waits, and what comes later, rejects so. */
  stop(reason: Error): void;
}

/** What Node's workers and pages' workers have in common, after {@link openWorker}. */
interface Port {
  post(message: Start | Order): void;
  stop(): void;
  /** Whether the process waits for it. */
  hold(held: boolean): void;
}

interface NodeWorker {
  on(event: string, listener: (value: never) => void): void;
  postMessage(message: unknown, transfer: readonly ArrayBuffer[]): void;
  terminate(): Promise<number>;
  ref(): void;
  unref(): void;
}

const isNode = (): boolean => typeof process === 'object' && typeof process.versions?.node === 'string';

async function openWorker(
  onAnswer: (answer: Answer) => void,
  onFailure: (cause: unknown) => void,
): Promise<Port> {
  if (isNode()) {
    // Bundlers for pages must not look for it.
    const name = 'node:worker_threads';
    const { Worker } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as {
      Worker: new (text: string, options: object) => NodeWorker;
    };
    const worker = new Worker(
      `const { parentPort } = require('node:worker_threads');\n${threadText}\nparentPort.on('message', serve((answer, transfer) => parentPort.postMessage(answer, transfer)));`,
      { eval: true },
    );
    worker.on('message', onAnswer);
    worker.on('error', onFailure);
    worker.on('exit', (code) => onFailure(`exit ${code}`));
    return {
      post: (message) => worker.postMessage(message, []),
      stop: () => void worker.terminate(),
      hold: (held) => (held ? worker.ref() : worker.unref()),
    };
  }
  const address = URL.createObjectURL(
    new Blob(
      [
        `${threadText}\nconst handle = serve((answer, transfer) => postMessage(answer, transfer));\nonmessage = ({ data }) => handle(data);`,
      ],
      { type: 'text/javascript' },
    ),
  );
  const worker = new Worker(address);
  worker.addEventListener('message', ({ data }) => onAnswer(data as Answer));
  worker.addEventListener('error', ({ message }) => onFailure(message || 'an error before it began'));
  // Once it answers it has its text; an address that is never given back would keep it.
  worker.addEventListener('message', () => URL.revokeObjectURL(address), { once: true });
  return {
    post: (message) => worker.postMessage(message, []),
    stop: () => worker.terminate(),
    hold: () => undefined,
  };
}

/** As much as the engine can reserve, which it does beforehand. */
function shareMemory(): WebAssembly.Memory {
  for (let maximum = 65536; ; maximum /= 2) {
    try {
      return new WebAssembly.Memory({ initial: 1, maximum, shared: true });
    } catch (cause) {
      if (maximum <= 512)
        throw new BackendError(
          'wasm-memory-exhausted',
          'createRunner: expected to reserve memory for threads, got none; free other memories of the process or page.',
          { cause },
        );
    }
  }
}

/** Whether memory can be sent to a worker: in Node always, in a page if it is cross-origin isolated. */
const canShare = (): boolean =>
  typeof SharedArrayBuffer === 'function' &&
  (isNode() || (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated === true);

/**
 * Starts threads for a module. Where memory cannot be shared there is one, and where there are no workers that one is the
 * caller's own.
 *
 * @throws BackendError where a worker does not start, as under a policy of the page that forbids it
 */
export async function startThreads(
  module: WebAssembly.Module,
  wanted: number,
  control: number,
): Promise<Threads> {
  const workers = isNode() || typeof Worker === 'function';
  const count = workers && canShare() ? wanted : 1;
  const limitation = !workers
    ? 'there are no workers here: forwards run on the calling thread'
    : count < wanted
      ? 'memory cannot be shared with workers: the page is not cross-origin isolated (headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp)'
      : undefined;

  let waiting:
    { resolve: (results: readonly ArrayBuffer[]) => void; reject: (error: Error) => void } | undefined;
  let failed: Error | undefined;
  const ports: Port[] = [];
  const settle = (): typeof waiting => {
    const now = waiting;
    waiting = undefined;
    for (const port of ports) port.hold(false);
    return now;
  };
  let starting = count;
  const onAnswer = (answer: Answer): void => {
    if ('ready' in answer) {
      if (--starting === 0) settle()?.resolve([]);
    } else if ('results' in answer) settle()?.resolve(answer.results);
    else
      settle()?.reject(
        new BackendError(
          'wasm-memory-exhausted',
          `createRunner: expected ${answer.exhausted} bytes of memory, got fewer; use smaller images or batches.`,
        ),
      );
  };
  const onFailure = (cause: unknown): void => {
    failed ??= new BackendError(
      'worker-failed',
      `createRunner: expected its workers to run, got ${cause instanceof Error ? cause.message : String(cause)}; create the runner again (a page's policy must allow worker-src blob:).`,
      { cause },
    );
    for (const port of ports) port.stop();
    settle()?.reject(failed);
  };

  for (let thread = 0; thread < count; thread++) {
    if (workers) {
      try {
        ports.push(await openWorker(onAnswer, onFailure));
      } catch (error) {
        onFailure(error);
        throw failed;
      }
    } else {
      ports.push({ post: serve(onAnswer), stop: () => undefined, hold: () => undefined });
    }
  }
  const memory = count > 1 ? shareMemory() : undefined;
  // A thread that came to the memory after it has grown would not know: engines tell only those that are there.
  await new Promise<readonly ArrayBuffer[]>((resolve, reject) => {
    if (failed !== undefined) return reject(failed);
    waiting = { resolve, reject };
    for (const [thread, port] of ports.entries())
      port.post({ module, ...(memory && { memory }), thread, threads: count, control });
  });
  let last: Promise<unknown> = Promise.resolve();
  return {
    count,
    ...(limitation !== undefined && { limitation }),
    send(order) {
      const next = last.then(
        () =>
          new Promise<readonly ArrayBuffer[]>((resolve, reject) => {
            if (failed !== undefined) return reject(failed);
            waiting = { resolve, reject };
            for (const port of ports) port.hold(true);
            try {
              for (const [thread, port] of ports.entries())
                if (thread === 0 || order.count > 0)
                  port.post(thread === 0 ? order : { ...order, writes: [], reads: [] });
            } catch (error) {
              onFailure(error);
            }
          }),
      );
      last = next.catch(() => undefined);
      return next;
    },
    stop(reason) {
      failed ??= reason;
      for (const port of ports) port.stop();
      settle()?.reject(failed);
    },
  };
}
