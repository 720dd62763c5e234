import { BackendError } from '@pvt/core';
import type { Platform, Port } from './platform.ts';
import { createMessageHandler, type Reply, type RunMessage } from './worker.js';

const noWorkers = 'there are no workers here: forwards run on the calling thread';
const notIsolated =
  'memory cannot be shared with workers: the page is not cross-origin isolated (headers ' +
  'Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp)';

/** What a request to the threads settles. */
interface Pending {
  resolve(results: readonly ArrayBuffer[]): void;
  reject(error: Error): void;
}

/** Reserves shared memory, as much as the engine allows: it does so beforehand. */
function createSharedMemory(): WebAssembly.Memory {
  for (let maximum = 65536; ; maximum /= 2) {
    try {
      return new WebAssembly.Memory({ initial: 1, maximum, shared: true });
    } catch (cause) {
      if (maximum <= 512)
        throw new BackendError(
          'wasm-memory-exhausted',
          'createRunner: expected to reserve memory for threads, got none; ' +
            'free other memories of the process or page.',
          { cause },
        );
    }
  }
}

/** Threads over one memory. */
export class ThreadPool {
  readonly count: number;
  /** Why there are fewer threads than asked for, or why they do not run beside the caller. */
  readonly limitation: string | undefined;
  private readonly ports: Port[] = [];
  private pending: Pending | undefined;
  private failure: Error | undefined;
  private starting: number;
  /** The request before the next one. */
  private last: Promise<unknown> = Promise.resolve();

  /**
   * Starts threads for a module. Without shared memory there is one, and without workers that one is the
   * caller's own.
   *
   * @param control address of the words of the threads' barrier
   * @throws BackendError if a worker does not start, for instance because the page's policy forbids it
   */
  static async start(
    platform: Platform,
    module: WebAssembly.Module,
    wanted: number,
    control: number,
  ): Promise<ThreadPool> {
    const pool = new ThreadPool(platform, wanted);
    pool.openPorts(platform);
    const memory = pool.count > 1 ? createSharedMemory() : undefined;
    // All threads must have the memory before it grows: engines announce its growth only to those that have
    // it.
    await pool.request(() => {
      for (const [thread, port] of pool.ports.entries())
        port.post({ module, ...(memory && { memory }), thread, threads: pool.count, control });
    });
    return pool;
  }

  private constructor(platform: Platform, wanted: number) {
    const workers = platform.hasWorkers();
    this.count = workers && platform.canShareMemory() ? wanted : 1;
    this.starting = this.count;
    if (!workers) this.limitation = noWorkers;
    else if (this.count < wanted) this.limitation = notIsolated;
  }

  private openPorts(platform: Platform): void {
    const listeners = {
      onReply: (reply: Reply) => this.receive(reply),
      onFailure: (cause: unknown) => this.fail(cause),
    };
    if (!platform.hasWorkers()) {
      const post = createMessageHandler(listeners.onReply);
      this.ports.push({ post, terminate: () => undefined, keepAlive: () => undefined });
      return;
    }
    try {
      while (this.ports.length < this.count) this.ports.push(platform.openWorker(listeners));
    } catch (error) {
      throw this.fail(error);
    }
  }

  /** Lets all threads execute a message, one message after the other. */
  send(message: RunMessage): Promise<readonly ArrayBuffer[]> {
    const next = this.last.then(() =>
      this.request(() => {
        for (const port of this.ports) port.keepAlive(true);
        for (const [thread, port] of this.ports.entries()) {
          if (thread === 0) port.post(message);
          else if (message.count > 0) port.post({ ...message, writes: [], reads: [] });
        }
      }),
    );
    this.last = next.catch(() => undefined);
    return next;
  }

  /** Stops the threads. Rejects pending and future requests with this error. */
  stop(reason: Error): void {
    this.failure ??= reason;
    for (const port of this.ports) port.terminate();
    this.settle()?.reject(this.failure);
  }

  /** Posts messages and waits for the reply to them. */
  private request(post: () => void): Promise<readonly ArrayBuffer[]> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) return reject(this.failure);
      this.pending = { resolve, reject };
      try {
        post();
      } catch (error) {
        this.fail(error);
      }
    });
  }

  private receive(reply: Reply): void {
    if ('started' in reply) {
      this.starting--;
      if (this.starting === 0) this.settle()?.resolve([]);
    } else if ('results' in reply) {
      this.settle()?.resolve(reply.results);
    } else {
      this.settle()?.reject(
        new BackendError(
          'wasm-memory-exhausted',
          `createRunner: expected ${reply.exhausted} bytes of memory, got fewer; ` +
            'use smaller images or batches.',
        ),
      );
    }
  }

  private fail(cause: unknown): Error {
    const got = cause instanceof Error ? cause.message : String(cause);
    const error = new BackendError(
      'worker-failed',
      `createRunner: expected its workers to run, got ${got}; ` +
        "create the runner again (a page's policy must allow worker-src blob:).",
      { cause },
    );
    this.stop(error);
    return this.failure ?? error;
  }

  /** The pending request, which is no longer pending. */
  private settle(): Pending | undefined {
    const { pending } = this;
    this.pending = undefined;
    for (const port of this.ports) port.keepAlive(false);
    return pending;
  }
}
