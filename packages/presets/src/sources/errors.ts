import { PvtError } from '@pvt/core';

/** What can go wrong between a reference and its bytes. */
export type SourceErrorCode =
  /** The reference is no published name, hub repository, URL, file or folder. */
  | 'source-unknown'
  /** 404, or no such path. */
  | 'source-missing'
  /** 401: a token is needed, or the repository does not exist. */
  | 'source-unauthorized'
  /** 403: terms must be accepted, or the token has no access. */
  | 'source-forbidden'
  /** Another status that a retry will not change. */
  | 'source-refused'
  /** 408, 429 or 5xx at the last attempt. */
  | 'source-busy'
  | 'source-network'
  /** No byte for longer than `stallTimeout`. */
  | 'source-stalled'
  /** The connection ended before the file did, at the last attempt. */
  | 'source-short'
  /** Another length than the hub or the catalogue states. */
  | 'source-size'
  /** Another digest than the hub, the catalogue or the caller states. */
  | 'source-digest'
  /** A web page instead of a file. */
  | 'source-html'
  /** The pointer that Git LFS stores instead of a large file. */
  | 'source-lfs-pointer'
  /** Too many redirects, or one from https to http. */
  | 'source-redirect'
  /** The hub's response about a repository is no list of files. */
  | 'source-listing'
  | 'source-offline'
  | 'source-no-weights'
  | 'source-ambiguous'
  /** A file on this machine that cannot be read. */
  | 'source-unreadable';

export interface SourceErrorDetails extends ErrorOptions {
  readonly status?: number;
  /** Whether the same request may succeed later. */
  readonly temporary?: boolean;
  /** Milliseconds that the server asks to wait. */
  readonly retryAfter?: number;
}

/**
 * A checkpoint that could not be fetched.
 *
 * @example
 * try {
 *   await loadCheckpoint('timm/pvt_v2_b0.in1k');
 * } catch (error) {
 *   if (error instanceof SourceError && error.temporary) console.log('try again later');
 * }
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

/** Something that did not stop a load but should be known. */
export interface SourceWarning {
  readonly code:
    /** The platform has no cache, as a page without https. */
    | 'cache-unavailable'
    /** The cache is full: the load goes on without it. */
    | 'cache-full'
    | 'cache-readonly'
    | 'cache-failed'
    /** A cached file was not what had been stored; it is downloaded again. */
    | 'cache-corrupt'
    /** The server could not be asked whether the cached copy is still the newest. */
    | 'cache-stale'
    /** A page without https cannot compute digests: only the length was checked. */
    | 'digest-unchecked';
  readonly message: string;
  readonly cause?: unknown;
}

export type Warn = (warning: SourceWarning) => void;
