import type { LoadProgress } from '@pvt/presets';
import { proxy, wrap, type Remote } from 'comlink';
import { fastestBackend } from './choose.ts';
import {
  backendNames,
  type BackendName,
  type Check,
  type ErrorRecord,
  type OpenedModel,
  type OpenRequest,
  type StartOptions,
} from './protocol.ts';
import type { Engine } from './worker/engine.ts';

/** An error of the worker with its code. */
export class EngineError extends Error {
  readonly code: string;

  constructor({ name, code, message }: ErrorRecord) {
    super(message);
    this.name = name;
    this.code = code;
  }

  /** Comlink delivers an error of the worker as its record. */
  static from(thrown: unknown): EngineError {
    if (thrown instanceof EngineError) return thrown;
    const { name = 'Error', code = 'unexpected', message } = (thrown ?? {}) as Partial<ErrorRecord>;
    return new EngineError({ name, code, message: message ?? String(thrown) });
  }
}

/** What is known about a backend: the result of its self-check, or why it cannot be used. */
export type Finding = Check | { readonly backend: BackendName; readonly unavailable: string };

/** A worker and its backend. */
interface BackendWorker {
  readonly backend: BackendName;
  readonly worker: Worker;
  readonly engine: Remote<Engine>;
  readonly check: Check;
  /** Rejects when the worker fails or its device is lost. Never resolves. */
  readonly failure: Promise<never>;
}

/** Starts a worker with one backend. */
async function startWorker(backend: BackendName, options: StartOptions): Promise<BackendWorker> {
  const worker = new Worker(new URL('./worker/engine.ts', import.meta.url), {
    type: 'module',
    name: `pvt ${backend}`,
  });
  const failure = failureOf(worker);
  failure.catch(() => worker.terminate());
  const engine = wrap<Engine>(worker);
  try {
    const check = await Promise.race([engine.start(backend, options), failure]);
    return { backend, worker, engine, check, failure };
  } catch (error) {
    worker.terminate();
    throw EngineError.from(error);
  }
}

/**
 * Rejects when a worker's script fails or its device is lost: a call that waits for a lost device may never
 * end.
 */
function failureOf(worker: Worker): Promise<never> {
  return new Promise((_resolve, reject) => {
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      const message = event.message || 'the code of the models could not be loaded';
      reject(new EngineError({ name: 'Error', code: 'worker-failed', message }));
    });
    worker.addEventListener('message', ({ data }) => {
      if ((data as { readonly event?: string } | null)?.event !== 'device-lost') return;
      const message = 'the device was lost';
      reject(new EngineError({ name: 'BackendError', code: 'device-lost', message }));
    });
  });
}

export interface HostEvents {
  /** Something new is known about a backend, or another one is in use. */
  readonly backends: undefined;
  /** The worker was replaced after a failure, and the model is open again. */
  readonly recovered: { readonly code: string; readonly from: BackendName; readonly to: BackendName };
  /** A backend failed its self-check or does not start. */
  readonly refused: Finding;
}
type Listeners = { readonly [K in keyof HostEvents]: ((detail: HostEvents[K]) => void)[] };

/** Key of the findings in local storage. */
const storageKey = 'pvt.checks';
/** Multiply-adds that the choice of a backend assumes while no model is open. */
const typicalMacs = 1e8;
/** Milliseconds within which a second lost device moves the page to a backend that has none. */
const lossWindow = 60_000;
/** A backend whose small probe takes this many times the best one's is not timed further. */
const slowFactor = 20;
/** Errors after which the worker is replaced. */
const fatalCodes = ['device-lost', 'out-of-memory', 'worker-failed'];

/**
 * Keeps one worker with one backend running and runs one job at a time on it. A worker that lost its device
 * or ran out of memory is replaced and its model opened again.
 */
export class Host {
  readonly findings = new Map<BackendName, Finding>();
  readonly #listeners: Listeners = { backends: [], recovered: [], refused: [] };
  #current: BackendWorker | undefined;
  #opened: { readonly request: OpenRequest; readonly model: OpenedModel } | undefined;
  /** The last job in the queue. */
  #lastJob: Promise<unknown> = Promise.resolve();
  /** When a device was last lost. */
  #lostAt = -Infinity;
  #automatic = true;

  on<K extends keyof HostEvents>(event: K, listener: (detail: HostEvents[K]) => void): void {
    this.#listeners[event].push(listener);
  }

  #emit<K extends keyof HostEvents>(event: K, detail: HostEvents[K]): void {
    for (const listener of this.#listeners[event]) listener(detail);
  }

  get backend(): BackendName | undefined {
    return this.#current?.backend;
  }

  /** Whether the page chooses the backend. */
  get automatic(): boolean {
    return this.#automatic;
  }

  get opened(): OpenedModel | undefined {
    return this.#opened?.model;
  }

  /** Starts with the requested backend, or with the fastest known one; others are tried if it is refused. */
  start(requested: BackendName | 'auto'): Promise<void> {
    return this.#enqueue(async () => {
      this.#automatic = requested === 'auto';
      this.#loadFindings();
      const checks = this.#checks();
      const best = checks.length > 1 ? fastestBackend(checks, typicalMacs) : undefined;
      const candidates: BackendName[] =
        requested === 'auto' ? [best ?? 'wasm', 'wasm', 'webgl', 'cpu'] : [requested, 'wasm', 'cpu'];
      await this.#startFirst(candidates, this.#automatic);
    });
  }

  /** Starts the first candidate that works. */
  async #startFirst(candidates: readonly BackendName[], timed: boolean): Promise<void> {
    let last: EngineError | undefined;
    for (const backend of new Set(candidates)) {
      try {
        this.#use(await this.#launch(backend, { timed }));
        return;
      } catch (error) {
        last = EngineError.from(error);
        if (last.code === 'worker-failed') break;
      }
    }
    throw last!;
  }

  /**
   * Starts a worker, records what is found out about its backend, and refuses a backend that fails its check.
   */
  async #launch(backend: BackendName, options: StartOptions): Promise<BackendWorker> {
    try {
      const started = await startWorker(backend, options);
      this.#recordCheck(started.check);
      if (started.check.passed) return started;
      started.worker.terminate();
      this.#emit('refused', started.check);
    } catch (error) {
      const { code, message } = EngineError.from(error);
      if (code !== 'worker-failed') {
        const finding = { backend, unavailable: message };
        this.findings.set(backend, finding);
        this.#emit('refused', finding);
      }
      throw error;
    } finally {
      this.#emit('backends', undefined);
    }
    throw new EngineError({
      name: 'BackendError',
      code: 'backend-wrong',
      message: `${backend} computes wrong results on this device`,
    });
  }

  /** Keeps an earlier check that timed the large probe, unless the new one failed. */
  #recordCheck(check: Check): void {
    const before = this.findings.get(check.backend);
    const tellsMore = before !== undefined && 'large' in before && check.large === undefined;
    if (!(check.passed && tellsMore)) this.findings.set(check.backend, check);
  }

  /** Replaces the current worker. No model is open afterwards. */
  #use(started: BackendWorker): void {
    this.#current?.worker.terminate();
    this.#current = started;
    this.#opened = undefined;
    // A running job sees the failure itself; while none runs, the worker is replaced from here.
    started.failure.catch((error: EngineError) =>
      this.#enqueue(async () => this.#current === started && this.#recover(error)).catch(() =>
        this.#emit('backends', undefined),
      ),
    );
    this.#emit('backends', undefined);
  }

  /** Switches to a backend, or back to automatic choice. */
  select(requested: BackendName | 'auto'): Promise<void> {
    return this.#enqueue(async () => {
      this.#automatic = requested === 'auto';
      const target = requested === 'auto' ? (this.#fastest() ?? 'wasm') : requested;
      if (target !== this.backend) await this.#moveTo(target);
    });
  }

  async #moveTo(backend: BackendName): Promise<void> {
    const opened = this.#opened;
    // The new worker is up before the old one goes, so that a refusal changes nothing.
    this.#use(await this.#launch(backend, { timed: false }));
    if (opened !== undefined) await this.#open(opened.request, () => {});
  }

  /** Checks and times the GPU backends that are not known yet, then switches to the fastest backend. */
  async timeBackends(): Promise<void> {
    for (const backend of ['webgl', 'webgpu'] as const) {
      if (!this.#automatic || this.findings.has(backend)) continue;
      const best = Math.min(...this.#checks().map(({ small }) => small.milliseconds));
      try {
        const { worker } = await this.#launch(backend, { timed: true, timeLimit: slowFactor * best });
        worker.terminate();
      } catch {
        // `#launch` has reported it.
      }
    }
    this.#saveFindings();
    await this.switchToFastest();
  }

  /**
   * In automatic mode, moves to the backend that should be fastest for the open model. Tells whether it
   * moved.
   */
  async switchToFastest(): Promise<boolean> {
    return this.#enqueue(async () => {
      const best = this.#fastest(this.backend);
      if (!this.#automatic || best === undefined || best === this.backend) return false;
      await this.#moveTo(best);
      return true;
    });
  }

  #fastest(current?: BackendName): BackendName | undefined {
    return fastestBackend(this.#checks(), this.opened?.macs ?? typicalMacs, current);
  }

  #checks(): Check[] {
    return [...this.findings.values()].filter((finding) => 'passed' in finding);
  }

  #saveFindings(): void {
    const findings = [...this.findings.values()];
    localStorage.setItem(storageKey, JSON.stringify({ agent: navigator.userAgent, findings }));
  }

  /** Findings of another browser version are ignored. */
  #loadFindings(): void {
    const stored = JSON.parse(localStorage.getItem(storageKey) ?? '{}') as {
      readonly agent?: string;
      readonly findings?: readonly Finding[];
    };
    if (stored.agent !== navigator.userAgent) return;
    for (const finding of stored.findings ?? [])
      if (backendNames.includes(finding.backend)) this.findings.set(finding.backend, finding);
  }

  /** Opens a model, unless it is open already. */
  open(request: OpenRequest, onProgress: (progress: LoadProgress) => void): Promise<OpenedModel> {
    return this.#enqueue(async () =>
      this.#opened?.request.id === request.id
        ? this.#opened.model
        : this.#retry(() => this.#open(request, onProgress)),
    );
  }

  async #open(request: OpenRequest, onProgress: (progress: LoadProgress) => void): Promise<OpenedModel> {
    const { engine, failure } = this.#current!;
    this.#opened = undefined;
    const model = await Promise.race([engine.open(request, proxy(onProgress)), failure]);
    this.#opened = { request, model };
    this.#emit('backends', undefined);
    return model;
  }

  /** Aborts a download. Bypasses the queue, because it stops the job at its head. */
  cancel(): void {
    void this.#current?.engine.cancel();
  }

  /**
   * Runs a job with the open model. After a lost device `job` runs again, so it creates anew what it
   * transfers.
   */
  run<T>(job: (engine: Remote<Engine>) => Promise<T>): Promise<T> {
    return this.#enqueue(() => this.#retry(() => this.#call(job)));
  }

  /** Calls the engine while a job is running, without waiting for the job to end. */
  async callDuringJob<T>(call: (engine: Remote<Engine>) => Promise<T>): Promise<T> {
    try {
      return await this.#call(call);
    } catch (error) {
      throw EngineError.from(error);
    }
  }

  #call<T>(call: (engine: Remote<Engine>) => Promise<T>): Promise<T> {
    const { engine, failure } = this.#current!;
    return Promise.race([call(engine), failure]);
  }

  /** Replaces the worker after a fatal error, and repeats the job if its device was lost. */
  async #retry<T>(job: () => Promise<T>): Promise<T> {
    try {
      return await job();
    } catch (thrown) {
      const error = EngineError.from(thrown);
      if (!fatalCodes.includes(error.code)) throw error;
      await this.#recover(error);
      if (error.code !== 'device-lost') throw error;
      return job();
    }
  }

  /**
   * Starts a new worker and opens the model again. A second lost device within a minute moves to a backend
   * without a device.
   */
  async #recover({ code }: EngineError): Promise<void> {
    const from = this.#current!.backend;
    const opened = this.#opened;
    const lostAgain = code === 'device-lost' && performance.now() - this.#lostAt < lossWindow;
    this.#lostAt = performance.now();
    this.#current!.worker.terminate();
    await this.#startFirst(lostAgain ? ['wasm', 'cpu'] : [from, 'wasm', 'cpu'], false);
    this.#emit('recovered', { code, from, to: this.backend! });
    if (opened !== undefined) await this.#open(opened.request, () => {});
  }

  /** Runs a job after all jobs before it have ended. */
  async #enqueue<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#lastJob.then(job, job);
    this.#lastJob = result.catch(() => undefined);
    try {
      return await result;
    } catch (error) {
      throw EngineError.from(error);
    }
  }
}
