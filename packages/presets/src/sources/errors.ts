import { PvtError } from '@pvt/core';

/** What can go wrong between a reference and the bytes it stands for. */
export type SourceErrorCode =
  /** The reference is no name, hub repository, URL, file or folder that we know. */
  | 'source-unknown'
  /** Nothing there: 404, or no such path. */
  | 'source-missing'
  /** 401: a token is needed, or the repository does not exist for whoever has none. */
  | 'source-unauthorized'
  /** 403: terms to accept, or a token without the right. */
  | 'source-forbidden'
  /** Another status that will not change by asking again. */
  | 'source-refused'
  /** 408, 429 or 5xx to the last attempt. */
  | 'source-busy'
  | 'source-network'
  /** No byte for longer than `stallTimeout`. */
  | 'source-stalled'
  /** The connection ended before the file did, to the last attempt. */
  | 'source-short'
  /** Another length than the hub or the catalogue states. */
  | 'source-size'
  /** Another digest than the hub, the catalogue or the caller states. */
  | 'source-digest'
  /** A web page where a file should be. */
  | 'source-html'
  /** The text that Git keeps in place of a large file. */
  | 'source-lfs-pointer'
  /** Too many redirects, or one that leaves https. */
  | 'source-redirect'
  /** The hub's answer about a repository is not the list of files it should be. */
  | 'source-listing'
  | 'source-offline'
  | 'source-no-weights'
  | 'source-ambiguous'
  /** A file on this machine that cannot be read. */
  | 'source-unreadable';

export interface SourceErrorDetails extends ErrorOptions {
  readonly status?: number;
  /** Whether the same request may well succeed later. */
  readonly temporary?: boolean;
  /** Milliseconds that the server asks to wait. */
  readonly retryAfter?: number;
}

/**
 * A checkpoint that could not be fetched.
 *
 * @example
 * try { await loadCheckpoint('timm/pvt_v2_b0.in1k'); } catch (error) { if (error instanceof SourceError && error.temporary) tryLater(); }
 */
export class SourceError extends PvtError {
  declare readonly code: SourceErrorCode;
  readonly status: number | undefined;
  readonly temporary: boolean;
  readonly retryAfter: number | undefined;

  constructor(
    code: SourceErrorCode,
    message: string,
    { status, temporary = false, retryAfter, ...options }: SourceErrorDetails = {},
  ) {
    super(code, message, options);
    this.status = status;
    this.temporary = temporary;
    this.retryAfter = retryAfter;
  }
}

/** Something that did not stop a load, and should not pass in silence. */
export interface SourceWarning {
  readonly code:
    /** There is no cache here, as on a page without https. */
    | 'cache-unavailable'
    /** No room: the load goes on without caching. */
    | 'cache-full'
    | 'cache-readonly'
    | 'cache-failed'
    /** A cached file was not what had been stored; it is fetched again. */
    | 'cache-corrupt'
    /** The server could not be asked whether the cached copy is still the newest. */
    | 'cache-stale'
    /** Without https a page has no digests: the length alone was checked. */
    | 'digest-unchecked';
  readonly message: string;
  readonly cause?: unknown;
}

export type Warn = (warning: SourceWarning) => void;
