import type { Message, Reply } from './worker.js';

/** A worker, as far as {@link ThreadPool} uses it. */
export interface Port {
  post(message: Message): void;
  terminate(): void;
  /** Whether the process stays alive for the worker; pages have no such notion. */
  keepAlive(active: boolean): void;
}

export interface PortListeners {
  onReply(reply: Reply): void;
  onFailure(cause: unknown): void;
}

/** What Node and pages do differently. */
export interface Platform {
  /** Whether there are workers here. */
  hasWorkers(): boolean;
  /** Whether workers may receive shared memory. */
  canShareMemory(): boolean;
  openWorker(listeners: PortListeners): Port;
}
