import { nearest } from '../text.ts';
import { listCheckpoints } from './catalogue.ts';
import { SourceError, type SourceErrorDetails } from './errors.ts';

/** How requests are made. */
export interface Network {
  readonly fetch: typeof fetch;
  readonly signal: AbortSignal | undefined;
  /** The hub's address without a slash at its end. */
  readonly endpoint: string;
  /** Goes to the endpoint's own origin and nowhere else. */
  readonly token: string | undefined;
  readonly retries: Retries;
}

export interface Retries {
  /** Requests without a megabyte of progress before giving up; 5 by default. */
  readonly attempts: number;
  /** Longest wait before the second attempt, milliseconds; 500 by default. It doubles with each attempt, and the wait is a random part of it. */
  readonly delay: number;
  /** Longest wait between two attempts, milliseconds; a server that asks for more is not waited for. 60,000 by default. */
  readonly longestDelay: number;
  /** Milliseconds without a byte after which an attempt counts as failed; 30,000 by default. */
  readonly stallTimeout: number;
}

export const defaultRetries: Retries = {
  attempts: 5,
  delay: 500,
  longestDelay: 60_000,
  stallTimeout: 30_000,
};

/** Enough of a download to call an attempt a success, though its connection broke. */
const worthwhile = 1 << 20;
const maxRedirects = 10;

export interface Attempt {
  /** Aborts with the caller's signal and when nothing has come for too long. */
  readonly signal: AbortSignal;
  /** To be called for all that arrives. */
  alive(bytes?: number): void;
}

/**
 * Runs an attempt until one succeeds: again after temporary failures, with growing random pauses or as long as the server asks.
 *
 * @throws the signal's reason; SourceError of the last attempt
 */
export async function retrying<T>(
  { signal, retries }: Network,
  url: string,
  attempt: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  for (let failures = 0; ;) {
    signal?.throwIfAborted();
    const stall = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let received = 0;
    const alive = (bytes = 0): void => {
      received += bytes;
      clearTimeout(timer);
      timer = setTimeout(() => stall.abort(stalled(url, retries.stallTimeout)), retries.stallTimeout);
    };
    let wait: number;
    try {
      alive();
      return await attempt({
        signal: AbortSignal.any([stall.signal, ...(signal === undefined ? [] : [signal])]),
        alive,
      });
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof SourceError && error.temporary)) throw error;
      failures = received >= worthwhile ? 1 : failures + 1;
      wait =
        error.retryAfter ??
        Math.min(retries.longestDelay, retries.delay * 2 ** (failures - 1)) * Math.random();
      if (failures >= retries.attempts || wait > retries.longestDelay) throw error;
    } finally {
      clearTimeout(timer);
    }
    await pause(wait, signal);
  }
}

const stalled = (url: string, timeout: number) =>
  new SourceError(
    'source-stalled',
    `loadCheckpoint: expected bytes from ${shown(url)}, got none for ${timeout} ms; try again later, or allow a longer stallTimeout.`,
    { temporary: true },
  );

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/** A URL for a message: without its query, which may hold a signature. */
export const shown = (url: string): string => url.replace(/[?#].*$/s, '').slice(0, 200);

/** What the network did, with its failures as SourceErrors and an abort as the signal's reason. */
export async function over<T>(work: Promise<T>, url: string, signal: AbortSignal | undefined): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    signal?.throwIfAborted();
    const { message, cause: deeper } = cause as Error;
    const why = deeper instanceof Error ? `${message}: ${deeper.message}` : message;
    throw new SourceError(
      'source-network',
      `loadCheckpoint: expected an answer from ${shown(url)}, got ${why}; check the connection, and in a browser that this server lets other pages read its files.`,
      {
        cause,
        temporary: true,
      },
    );
  }
}

/**
 * One request, redirects followed by hand so that the token stays with the endpoint.
 *
 * @throws SourceError for every answer that is no success, 416 aside
 */
export async function send(
  network: Network,
  from: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Response> {
  let url = from;
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const trusted = network.token !== undefined && new URL(url).origin === new URL(network.endpoint).origin;
    const init = {
      headers: { ...headers, ...(trusted && { authorization: `Bearer ${network.token}` }) },
      signal,
      cache: 'no-store',
    } as const;
    const { fetch } = network;
    let response = await over(fetch(url, { ...init, redirect: 'manual' }), url, signal);
    // A browser hides where a redirect leads; it drops the token by itself when it follows one to another origin.
    if (response.type === 'opaqueredirect')
      response = await over(fetch(url, { ...init, redirect: 'follow' }), url, signal);
    const location =
      response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
    if (location === null) {
      if (response.ok || response.status === 416) return response;
      await response.body?.cancel();
      throw refusal(response, url, network);
    }
    await response.body?.cancel();
    if (!URL.canParse(location, url)) redirected(`a redirect to ${JSON.stringify(location.slice(0, 80))}`);
    const next = new URL(location, url);
    if (next.protocol !== 'https:' && (next.protocol !== 'http:' || url.startsWith('https:')))
      redirected(`a redirect to ${shown(next.href)}`);
    url = next.href;
  }
  return redirected(`more than ${maxRedirects} redirects`);

  function redirected(got: string): never {
    throw new SourceError(
      'source-redirect',
      `loadCheckpoint: expected a file at ${shown(from)}, got ${got}; check the address.`,
    );
  }
}

/** An answer's status as an error with what to do about it. */
function refusal({ status, headers }: Response, url: string, { endpoint, token }: Network): SourceError {
  const expected = `loadCheckpoint: expected ${shown(url)}, got`;
  const atHub = url.startsWith(`${endpoint}/`);
  const [, owner, name] = /([\w.-]+)\/([\w.-]+)\/(?:tree|resolve)\//.exec(url) ?? [];
  const repo = owner === undefined ? 'it' : `${owner}/${name}`;
  const hubCode = headers.get('x-error-code');
  const fail = (
    code: ConstructorParameters<typeof SourceError>[0],
    got: string,
    remedy: string,
    details: SourceErrorDetails = {},
  ) => new SourceError(code, `${expected} ${got}; ${remedy}.`, { status, ...details });

  if (status === 408 || status === 429 || status >= 500) {
    const retryAfter = parseRetryAfter(headers.get('retry-after'));
    const patience =
      retryAfter === undefined ? 'try again later' : `try again in ${Math.ceil(retryAfter / 1000)} s`;
    return fail('source-busy', `status ${status}`, patience, {
      temporary: true,
      ...(retryAfter !== undefined && { retryAfter }),
    });
  }
  if (status === 401 && atHub && hubCode === 'RepoNotFound' && token === undefined) {
    return fail(
      'source-unauthorized',
      'status 401: no such repository, or a private one',
      `check the name (published: ${likely(repo)}), or give a token that may read it (option token; HF_TOKEN in Node)`,
    );
  }
  if (status === 401) {
    const remedy = !atHub
      ? 'this address wants a login'
      : token === undefined
        ? `give a token that may read ${repo} (option token; HF_TOKEN in Node)`
        : 'the token is not valid any more: make a new one';
    return fail('source-unauthorized', 'status 401', remedy);
  }
  if (status === 403) {
    const remedy =
      hubCode === 'GatedRepo'
        ? `accept the terms of ${repo} on its page, with the account whose token you give`
        : atHub
          ? `the token may not read ${repo}: give it that right`
          : 'this address is not open to you';
    return fail(
      'source-forbidden',
      hubCode === 'GatedRepo' ? 'status 403: a repository with terms to accept' : 'status 403',
      remedy,
    );
  }
  if (status === 404 || status === 410) {
    const what =
      {
        RevisionNotFound: ': no such revision',
        EntryNotFound: ': no such file in the repository',
        RepoNotFound: ': no such repository',
      }[hubCode ?? ''] ?? '';
    return fail(
      'source-missing',
      `status ${status}${what}`,
      atHub && hubCode !== 'EntryNotFound' && hubCode !== 'RevisionNotFound'
        ? `check the name; published are ${likely(repo)}`
        : 'check the address',
    );
  }
  return fail('source-refused', `status ${status}`, 'check the address');
}

const likely = (repo: string) => nearest(repo.replace(/^.*\//, ''), listCheckpoints()).join(', ');

/** Seconds or a date, as milliseconds from now. */
function parseRetryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(milliseconds) ? undefined : Math.max(0, milliseconds);
}
