import { nearest } from '../text.ts';
import { listCheckpoints } from './catalogue.ts';
import { SourceError, type SourceErrorCode, type SourceErrorDetails } from './errors.ts';

/** How requests are made. */
export interface Network {
  readonly fetch: typeof fetch;
  readonly signal: AbortSignal | undefined;
  /** The hub's address, without a trailing slash. */
  readonly endpoint: string;
  /** Sent to the endpoint's origin only. */
  readonly token: string | undefined;
  readonly retries: Retries;
}

export interface Retries {
  /** Requests without a megabyte of progress before giving up. Default: 5. */
  readonly attempts: number;
  /**
   * Longest wait before the second attempt, milliseconds; it doubles with each attempt, and the wait is a
   * random part of it. Default: 500.
   */
  readonly delay: number;
  /**
   * Longest wait between two attempts, milliseconds; if a server asks for more, the load fails. Default:
   * 60,000.
   */
  readonly longestDelay: number;
  /** Milliseconds without a byte after which an attempt has failed. Default: 30,000. */
  readonly stallTimeout: number;
}

export const defaultRetries: Retries = {
  attempts: 5,
  delay: 500,
  longestDelay: 60_000,
  stallTimeout: 30_000,
};

/** Bytes that make an attempt count as progress, although its connection broke. */
const worthwhile = 1 << 20;
const maxRedirects = 10;

export interface Attempt {
  /** Aborts with the caller's signal, and when nothing has arrived for too long. */
  readonly signal: AbortSignal;
  /** Must be called for everything that arrives. */
  alive(bytes?: number): void;
}

/**
 * Runs an attempt until it succeeds. After temporary failures it is repeated, with growing random pauses or
 * those that the server asks for.
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
    `loadCheckpoint: expected bytes from ${shown(url)}, got none for ${timeout} ms; ` +
      'try again later, or allow a longer stallTimeout.',
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

/** Awaits network activity, with failures as SourceErrors and an abort as the signal's reason. */
export async function over<T>(work: Promise<T>, url: string, signal: AbortSignal | undefined): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    signal?.throwIfAborted();
    const { message, cause: deeper } = cause as Error;
    const why = deeper instanceof Error ? `${message}: ${deeper.message}` : message;
    throw new SourceError(
      'source-network',
      `loadCheckpoint: expected a response from ${shown(url)}, got ${why}; ` +
        'check the connection, and in a browser that this server allows cross-origin requests.',
      {
        cause,
        temporary: true,
      },
    );
  }
}

/**
 * One request. Redirects are followed by hand, so that only the endpoint gets the token.
 *
 * @throws SourceError for every response that is no success, except 416
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
    // A browser hides a redirect's target; it drops the token itself if the target has another origin.
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

/** An error response as an error that says what to do about it. */
function refusal({ status, headers }: Response, url: string, { endpoint, token }: Network): SourceError {
  const atHub = url.startsWith(`${endpoint}/`);
  const hubCode = headers.get('x-error-code');
  const [, owner, name] = /([\w.-]+)\/([\w.-]+)\/(?:tree|resolve)\//.exec(url) ?? [];
  const asked: Asked = { atHub, hubCode, token, repo: owner === undefined ? 'it' : `${owner}/${name}` };
  const { code, got = `status ${status}`, remedy, ...details } = reasonFor(status, headers, asked);
  const message = `loadCheckpoint: expected ${shown(url)}, got ${got}; ${remedy}.`;
  return new SourceError(code, message, { status, ...details });
}

interface Asked {
  readonly atHub: boolean;
  readonly hubCode: string | null;
  readonly token: string | undefined;
  readonly repo: string;
}

interface Reason extends SourceErrorDetails {
  readonly code: SourceErrorCode;
  readonly got?: string;
  readonly remedy: string;
}

function reasonFor(status: number, headers: Headers, asked: Asked): Reason {
  if (status === 408 || status === 429 || status >= 500) return busy(headers);
  if (status === 401) return unauthorized(asked);
  if (status === 403) return forbidden(asked);
  if (status === 404 || status === 410) return missing(status, asked);
  return { code: 'source-refused', remedy: 'check the address' };
}

function busy(headers: Headers): Reason {
  const retryAfter = parseRetryAfter(headers.get('retry-after'));
  if (retryAfter === undefined) return { code: 'source-busy', remedy: 'try again later', temporary: true };
  const remedy = `try again in ${Math.ceil(retryAfter / 1000)} s`;
  return { code: 'source-busy', remedy, temporary: true, retryAfter };
}

function unauthorized({ atHub, hubCode, token, repo }: Asked): Reason {
  const code = 'source-unauthorized';
  if (!atHub) return { code, remedy: 'this address needs a login' };
  if (token !== undefined) return { code, remedy: 'the token is no longer valid: create a new one' };
  if (hubCode !== 'RepoNotFound')
    return { code, remedy: `give a token that may read ${repo} (option token; HF_TOKEN in Node)` };
  return {
    code,
    got: 'status 401: no such repository, or a private one',
    remedy:
      `check the name (published: ${likely(repo)}), ` +
      'or give a token that may read it (option token; HF_TOKEN in Node)',
  };
}

function forbidden({ atHub, hubCode, repo }: Asked): Reason {
  const code = 'source-forbidden';
  if (hubCode === 'GatedRepo')
    return {
      code,
      got: 'status 403: a repository with terms to accept',
      remedy: `accept the terms of ${repo} on its page, with the account whose token you give`,
    };
  if (atHub) return { code, remedy: `the token may not read ${repo}: grant it access` };
  return { code, remedy: 'you have no access to this address' };
}

function missing(status: number, { atHub, hubCode, repo }: Asked): Reason {
  const details: Readonly<Record<string, string>> = {
    RevisionNotFound: ': no such revision',
    EntryNotFound: ': no such file in the repository',
    RepoNotFound: ': no such repository',
  };
  const inRepo = hubCode === 'EntryNotFound' || hubCode === 'RevisionNotFound';
  return {
    code: 'source-missing',
    got: `status ${status}${details[hubCode ?? ''] ?? ''}`,
    remedy: atHub && !inRepo ? `check the name; published are ${likely(repo)}` : 'check the address',
  };
}

const likely = (repo: string) => nearest(repo.replace(/^.*\//, ''), listCheckpoints()).join(', ');

/** Seconds or a date, as milliseconds from now. */
function parseRetryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(milliseconds) ? undefined : Math.max(0, milliseconds);
}
