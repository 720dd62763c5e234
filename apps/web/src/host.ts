import { proxy, wrap, type Remote } from 'comlink';
import { choose } from './choose.ts';
import {
  backendNames,
  type BackendName,
  type Check,
  type ErrorRecord,
  type OpenedModel,
  type OpenRequest,
  type Progress,
} from './protocol.ts';
import type { Engine } from './worker/engine.ts';

/** An error of the worker, with the code that tells its kind. */
export class EngineError extends Error {
  readonly code: string;

  constructor({ name, code, message }: ErrorRecord) {
    super(message);
    this.name = name;
    this.code = code;
  }
}

/** What was found out about a backend: its self-check, or why it is not here. */
export type Finding = Check | { readonly backend: BackendName; readonly missing: string };

/** A worker with one backend. */
interface Live {
  readonly backend: BackendName;
  readonly worker: Worker;
  readonly engine: Remote<Engine>;
  readonly check: Check;
  /** Rejects when the worker or its device is gone. */
  readonly gone: Promise<never>;
}

const asError = (thrown: unknown): EngineError => {
  if (thrown instanceof EngineError) return thrown;
  const record = thrown as Partial<ErrorRecord> | undefined;
  return new EngineError({
    name: record?.name ?? 'Error',
    code: record?.code ?? 'unexpected',
    message: record?.message ?? String(thrown),
  });
};

const launching = (
  backend: BackendName,
  options: { readonly timed: boolean; readonly hopeless?: number },
): Promise<Live> => {
  const worker = new Worker(new URL('./worker/engine.ts', import.meta.url), {
    type: 'module',
    name: `pvt ${backend}`,
  });
  const gone = new Promise<never>((_resolve, reject) => {
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      reject(
        new EngineError({
          name: 'Error',
          code: 'worker-failed',
          message: event.message || 'the code of the models could not be loaded',
        }),
      );
    });
    // What waits for a lost device may wait for ever.
    worker.addEventListener('message', ({ data }) => {
      if ((data as { readonly event?: string } | null)?.event === 'device-lost')
        reject(
          new EngineError({ name: 'BackendError', code: 'device-lost', message: 'the device was lost' }),
        );
    });
  });
  gone.catch(() => worker.terminate());
  const engine = wrap<Engine>(worker);
  return Promise.race([engine.start(backend, options), gone]).then(
    (check) => ({ backend, worker, engine, check, gone }),
    (error: unknown) => {
      worker.terminate();
      throw asError(error);
    },
  );
};

export interface HostEvents {
  /** A backend was found out about, or became the one in use. */
  readonly backends: undefined;
  /** The worker was replaced after a failure; the model is there again. */
  readonly recovered: { readonly code: string; readonly from: BackendName; readonly to: BackendName };
  /** A backend was asked for, or tried, that computes wrongly or is not here. */
  readonly refused: Finding;
}

const remembered = 'pvt.checks';

/**
 * Keeps a worker with one backend running. A worker that lost its device or its memory is replaced and the model opened
 * again, so that a failure costs moments and nothing else.
 */
export class Host {
  readonly findings = new Map<BackendName, Finding>();
  readonly #listeners = new Map<string, ((detail: never) => void)[]>();
  #live: Live | undefined;
  #opened: { readonly request: OpenRequest; readonly model: OpenedModel } | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  #lastLoss = -Infinity;
  #automatic = true;

  on<K extends keyof HostEvents>(event: K, listener: (detail: HostEvents[K]) => void): void {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener as (detail: never) => void]);
  }

  #tell<K extends keyof HostEvents>(event: K, detail: HostEvents[K]): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(detail as never);
  }

  get backend(): BackendName | undefined {
    return this.#live?.backend;
  }

  get automatic(): boolean {
    return this.#automatic;
  }

  get opened(): OpenedModel | undefined {
    return this.#opened?.model;
  }

  /** Starts with the backend asked for, else with the one that starts fastest; refused ones are told of. */
  start(asked: BackendName | 'auto'): Promise<void> {
    return this.#inTurn(async () => {
      this.#automatic = asked === 'auto';
      this.#recall();
      const known = this.#checks();
      const best = known.length > 1 ? choose(known, 1e8) : undefined;
      await this.#first(
        asked === 'auto' ? [...(best ? [best] : []), 'wasm', 'webgl', 'cpu'] : [asked, 'wasm', 'cpu'],
        this.#automatic,
      );
    });
  }

  /** The first of some backends that starts and computes rightly. */
  async #first(candidates: readonly BackendName[], timed: boolean): Promise<void> {
    let last: EngineError | undefined;
    for (const backend of new Set(candidates)) {
      try {
        this.#adopt(await this.#launch(backend, { timed }));
        return;
      } catch (error) {
        last = asError(error);
        if (last.code === 'worker-failed') break;
      }
    }
    throw last!;
  }

  async #launch(
    backend: BackendName,
    options: { readonly timed: boolean; readonly hopeless?: number },
  ): Promise<Live> {
    try {
      const live = await launching(backend, options);
      const before = this.findings.get(backend);
      this.findings.set(
        backend,
        live.check.large === undefined && before !== undefined && 'large' in before && live.check.right
          ? before
          : live.check,
      );
      if (live.check.right) return live;
      live.worker.terminate();
      this.#tell('refused', live.check);
      throw new EngineError({
        name: 'BackendError',
        code: 'backend-wrong',
        message: `${backend} computes wrongly here`,
      });
    } catch (error) {
      const { code, message } = asError(error);
      if (code !== 'backend-wrong' && code !== 'worker-failed') {
        this.findings.set(backend, { backend, missing: message });
        this.#tell('refused', this.findings.get(backend)!);
      }
      throw error;
    } finally {
      this.#tell('backends', undefined);
    }
  }

  #adopt(live: Live): void {
    this.#live?.worker.terminate();
    this.#live = live;
    this.#opened = undefined;
    // A job that runs hears of it by itself; where none does, nobody else would.
    live.gone.catch((error: EngineError) =>
      this.#inTurn(async () => this.#live === live && this.#recover(error)).catch(() =>
        this.#tell('backends', undefined),
      ),
    );
    this.#tell('backends', undefined);
  }

  /** Changes the backend by hand, or back to automatic choice. */
  select(asked: BackendName | 'auto'): Promise<void> {
    return this.#inTurn(async () => {
      this.#automatic = asked === 'auto';
      const target = asked === 'auto' ? (choose(this.#checks(), this.opened?.macs ?? 1e8) ?? 'wasm') : asked;
      if (target !== this.backend) await this.#moveTo(target);
    });
  }

  async #moveTo(backend: BackendName): Promise<void> {
    const opened = this.#opened;
    // The new one is up before the old one goes: a refusal changes nothing.
    this.#adopt(await this.#launch(backend, { timed: false }));
    if (opened !== undefined) await this.#open(opened.request, () => {});
  }

  /** Times the backends that nobody asked about yet, aside, and moves to one that promises to be faster. */
  async survey(): Promise<void> {
    for (const backend of ['webgl', 'webgpu'] as const) {
      if (!this.#automatic || this.findings.has(backend)) continue;
      const best = Math.min(...this.#checks().map(({ small }) => small.milliseconds));
      await this.#launch(backend, { timed: true, hopeless: 20 * best }).then(
        ({ worker }) => worker.terminate(),
        // It was told of where it was found.
        () => undefined,
      );
    }
    this.#remember();
    await this.reconsider();
  }

  /** Moves to the backend that should be fastest for the open model, where the choice is ours. */
  async reconsider(): Promise<boolean> {
    return this.#inTurn(async () => {
      const best = choose(this.#checks(), this.opened?.macs ?? 1e8, this.backend);
      if (!this.#automatic || best === undefined || best === this.backend) return false;
      await this.#moveTo(best);
      return true;
    });
  }

  #checks(): Check[] {
    return [...this.findings.values()].filter((finding) => 'right' in finding);
  }

  #remember(): void {
    localStorage.setItem(
      remembered,
      JSON.stringify({ agent: navigator.userAgent, findings: [...this.findings.values()] }),
    );
  }

  #recall(): void {
    const stored = JSON.parse(localStorage.getItem(remembered) ?? '{}') as {
      readonly agent?: string;
      readonly findings?: readonly Finding[];
    };
    if (stored.agent !== navigator.userAgent) return;
    for (const finding of stored.findings ?? [])
      if (backendNames.includes(finding.backend)) this.findings.set(finding.backend, finding);
  }

  /** Opens a model, unless it is open already. */
  open(request: OpenRequest, onProgress: (progress: Progress) => void): Promise<OpenedModel> {
    return this.#inTurn(async () =>
      this.#opened?.request.id === request.id
        ? this.#opened.model
        : this.#attempt(() => this.#open(request, onProgress)),
    );
  }

  async #open(request: OpenRequest, onProgress: (progress: Progress) => void): Promise<OpenedModel> {
    const { engine, gone } = this.#live!;
    this.#opened = undefined;
    const model = await Promise.race([engine.open(request, proxy(onProgress)), gone]);
    this.#opened = { request, model };
    this.#tell('backends', undefined);
    return model;
  }

  /** Stops a download; not in turn, as it is the job before that has to stop. */
  cancel(): void {
    void this.#live?.engine.cancel();
  }

  /** Runs a job with the open model. What `work` hands over it makes anew at each call: after a loss it runs again. */
  use<T>(work: (engine: Remote<Engine>) => Promise<T>): Promise<T> {
    return this.#inTurn(() =>
      this.#attempt(() => Promise.race([work(this.#live!.engine), this.#live!.gone])),
    );
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      const error = asError(thrown);
      if (!['device-lost', 'out-of-memory', 'worker-failed'].includes(error.code)) throw error;
      await this.#recover(error);
      if (error.code !== 'device-lost') throw error;
      return work();
    }
  }

  /** A word to a job that is running, which does not wait for its end. */
  aside<T>(work: (engine: Remote<Engine>) => Promise<T>): Promise<T> {
    return Promise.race([work(this.#live!.engine), this.#live!.gone]).catch((error: unknown) => {
      throw asError(error);
    });
  }

  /** A new worker and the model that was open; after two losses in a minute on a backend that has no device to lose. */
  async #recover({ code }: EngineError): Promise<void> {
    const from = this.#live!.backend;
    const opened = this.#opened;
    const often = code === 'device-lost' && performance.now() - this.#lastLoss < 60_000;
    this.#lastLoss = performance.now();
    this.#live!.worker.terminate();
    await this.#first(often ? ['wasm', 'cpu'] : [from, 'wasm', 'cpu'], false);
    this.#tell('recovered', { code, from, to: this.backend! });
    if (opened !== undefined) await this.#open(opened.request, () => {});
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work, work);
    this.#tail = turn.catch(() => undefined);
    return turn.catch((error: unknown) => {
      throw asError(error);
    });
  }
}
