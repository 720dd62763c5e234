import type { ReadableFile } from '../formats/readableFile.ts';
import { digestOf, type Digest, type Hash } from './digest.ts';
import { SourceError, type Warn } from './errors.ts';
import type { ProgressTracker } from './progress.ts';
import { over, retrying, send, shown, type Attempt, type Network } from './request.ts';
import type { Draft, FileCache, StoredFile } from './cache.ts';

/** A file on a server, and what is known of it beforehand. */
export interface RemoteFile {
  readonly name: string;
  readonly url: string;
  /** Bytes, if the hub or the catalogue states them. */
  readonly size?: number;
  readonly digest?: Digest;
}

export interface Downloader {
  readonly network: Network;
  /** A cache whose failures do not stop a load, see `faultTolerant`. */
  readonly cache: FileCache;
  readonly hash: Hash;
  readonly offline: boolean;
  readonly progress: ProgressTracker;
  readonly warn: Warn;
}

/**
 * A file from the cache, or from the network into the cache. A cached file that has the digest is used
 * without asking the server; without a digest, the server is asked whether its file is still the same.
 *
 * @throws SourceError; the signal's reason
 */
export async function download(remote: RemoteFile, downloader: Downloader): Promise<ReadableFile> {
  const { network, cache, offline, progress } = downloader;
  network.signal?.throwIfAborted();
  const found = await cache.find(remote.url);
  if (
    found !== undefined &&
    (offline || (remote.digest !== undefined && found.validator === remote.digest)) &&
    (await intact(found, remote, downloader))
  )
    return arrived(found.file);
  if (offline) throw notCached(remote, found, cache);

  const draft = await cache.draft(remote.url, remote.name);
  try {
    // A draft of an unknown or another version cannot be resumed.
    if (
      draft.size > 0 &&
      (draft.validator === undefined || (remote.digest !== undefined && draft.validator !== remote.digest))
    )
      await draft.restart(remote.digest);
    const resumed = draft.size > 0;
    const cached = await fetchInto(draft, remote, found, downloader);
    if (cached !== undefined) {
      await draft.discard();
      return arrived(cached.file);
    }
    let verdict = await check(draft, remote, downloader);
    if (verdict.wrong !== undefined && resumed) {
      // The bytes of the earlier download may be damaged.
      await draft.restart(remote.digest);
      await fetchInto(draft, remote, undefined, downloader);
      verdict = await check(draft, remote, downloader);
    }
    if (verdict.wrong !== undefined) throw verdict.wrong;
    network.signal?.throwIfAborted();
    return arrived(await draft.commit(verdict.sha256));
  } catch (error) {
    const resumable = network.signal?.aborted || (error instanceof SourceError && error.temporary);
    await (resumable && draft.size > 0 && draft.validator !== undefined ? draft.suspend() : draft.discard());
    throw error;
  }

  function arrived(file: ReadableFile): ReadableFile {
    progress.size(remote.name, file.size);
    progress.update(remote.name, file.size);
    return { ...file, name: remote.name };
  }
}

export const notCached = ({ url }: RemoteFile, found: StoredFile | undefined, cache: FileCache) =>
  new SourceError(
    'source-offline',
    `loadCheckpoint: expected ${shown(url)} in the cache (${cache.name}) while offline, ` +
      `got ${found === undefined ? 'nothing' : 'a damaged or another file'}; load it once with a connection.`,
  );

/** Fetches what a draft lacks, or returns the cached file if the server still has the same. */
const fetchInto = (
  draft: Draft,
  remote: RemoteFile,
  found: StoredFile | undefined,
  downloader: Downloader,
): Promise<StoredFile | undefined> =>
  retrying(downloader.network, remote.url, (attempt) => receive(draft, remote, found, attempt, downloader));

/** One request for what a draft lacks. */
async function receive(
  draft: Draft,
  remote: RemoteFile,
  found: StoredFile | undefined,
  attempt: Attempt,
  downloader: Downloader,
): Promise<StoredFile | undefined> {
  const offset = draft.size;
  if (offset > 0 && offset === remote.size) return undefined;
  const answer = await request(draft, remote, attempt, downloader);
  const { status, response } = answer;
  if (status === 416 || status === 206) {
    if (!(await continues(draft, remote, answer))) return undefined;
  } else {
    if (await isUnchanged(found, remote, answer, downloader)) {
      await response.body?.cancel();
      return found;
    }
    await draft.restart(answer.validator);
  }
  await appendBody(draft, remote, answer, attempt, downloader);
  return undefined;
}

/** What a response's headers say of the file. */
interface Answer {
  readonly response: Response;
  readonly status: number;
  /** Which version the bytes are of. */
  readonly validator: string | undefined;
  /** Whether the body is compressed, so that its length is not the file's. */
  readonly encoded: boolean;
  /** First byte of the range, and bytes of the whole file, of a partial response. */
  readonly rangeBegin: number;
  readonly whole: number | undefined;
}

async function request(
  draft: Draft,
  { url, digest }: RemoteFile,
  { signal, alive }: Attempt,
  { network }: Downloader,
): Promise<Answer> {
  // With a digest, the pieces are checked afterwards; If-Range would cost a browser a preflight request.
  const rest = draft.size > 0 && {
    range: `bytes=${draft.size}-`,
    ...(digest === undefined && { 'if-range': draft.validator! }),
  };
  const response = await send(network, url, { 'accept-encoding': 'identity', ...rest }, signal);
  alive();
  const { status, headers } = response;
  const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(headers.get('content-range') ?? '');
  return {
    response,
    status,
    validator: digest ?? validatorOf(headers),
    encoded: (headers.get('content-encoding') ?? 'identity') !== 'identity',
    rangeBegin: Number(range?.[1]),
    whole: range === null ? undefined : Number(range[2]),
  };
}

/**
 * Whether a response to a range request has the rest of the draft; if not, the draft is complete.
 *
 * @throws SourceError if the range is of another file or version
 */
async function continues(draft: Draft, remote: RemoteFile, answer: Answer): Promise<boolean> {
  const { status, validator, encoded, rangeBegin, whole, response } = answer;
  const offset = draft.size;
  if (remote.size !== undefined && whole !== undefined && whole !== remote.size) {
    await response.body?.cancel();
    throw wrongSize(remote, whole);
  }
  const sameVersion = validator === undefined || validator === draft.validator;
  if (status === 206 && !encoded && rangeBegin === offset && sameVersion) return true;
  await response.body?.cancel();
  if (status === 416 && whole === offset) return false;
  await draft.restart(validator);
  throw new SourceError(
    'source-short',
    `loadCheckpoint: expected bytes from ${offset} on of ${shown(remote.url)}, got other ones; try again.`,
    { temporary: true },
  );
}

/** Whether the server's file is still the cached one. */
const isUnchanged = async (
  found: StoredFile | undefined,
  remote: RemoteFile,
  { validator }: Answer,
  downloader: Downloader,
): Promise<boolean> =>
  remote.digest === undefined &&
  validator !== undefined &&
  found?.validator === validator &&
  (await intact(found, remote, downloader));

async function appendBody(
  draft: Draft,
  remote: RemoteFile,
  { response, encoded, whole }: Answer,
  { signal, alive }: Attempt,
  { progress }: Downloader,
): Promise<void> {
  const { url, name, size } = remote;
  const length = response.headers.get('content-length');
  const total = size ?? whole ?? (encoded || length === null ? undefined : Number(length));
  if (total !== undefined) progress.size(name, total);
  progress.update(name, draft.size);
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const { value, done = true } = (await (reader && over(reader.read(), url, signal))) ?? {};
      if (done || value === undefined) break;
      alive(value.length);
      await draft.append(value);
      progress.update(name, draft.size, value.length);
      if (size !== undefined && draft.size > size) break;
    }
  } catch (error) {
    // The reader may already have failed by itself; the first error is the one to report.
    await reader?.cancel(error).catch(() => undefined);
    throw error;
  }
  await reader?.cancel();
  await refuseText(draft, url);
  if (size !== undefined && draft.size > size) throw wrongSize(remote, draft.size);
  if (total !== undefined && draft.size < total) {
    throw new SourceError(
      'source-short',
      `loadCheckpoint: expected ${total} bytes from ${shown(url)}, ` +
        `got ${draft.size} before the connection ended; try again.`,
      { temporary: true },
    );
  }
}

/** A validator for If-Range: a strong ETag, else a date. */
function validatorOf(headers: Headers): string | undefined {
  const etag = headers.get('etag');
  return etag !== null && !etag.startsWith('W/') ? etag : (headers.get('last-modified') ?? undefined);
}

const wrongSize = ({ url, size }: RemoteFile, got: number) =>
  new SourceError(
    'source-size',
    `loadCheckpoint: expected ${size} bytes at ${shown(url)}, as stated for it, ` +
      `got ${got === size ? 'others' : `${got} or more`}; ` +
      'the file was replaced or the server is wrong: try again later.',
  );

/** Refuses texts that servers send instead of a file. */
async function refuseText(draft: Draft, url: string): Promise<void> {
  const start = new TextDecoder()
    .decode(await draft.read(0, Math.min(512, draft.size)))
    .trimStart()
    .toLowerCase();
  if (/^(<!doctype html|<html|<head)/.test(start)) {
    throw new SourceError(
      'source-html',
      `loadCheckpoint: expected a file at ${shown(url)}, got a web page; ` +
        'give the address of the file itself (on the hub with /resolve/), and check for a login page.',
    );
  }
  if (start.startsWith('version https://git-lfs')) {
    throw new SourceError(
      'source-lfs-pointer',
      `loadCheckpoint: expected a file at ${shown(url)}, got its Git LFS pointer; ` +
        'give the address of the file itself (on the hub with /resolve/).',
    );
  }
}

async function check(
  draft: Draft,
  { url, digest }: RemoteFile,
  { hash, warn }: Downloader,
): Promise<{ readonly sha256: string | undefined; readonly wrong?: SourceError }> {
  const sha256 = await digestOf(hash, 'sha256', draft);
  if (digest === undefined) return { sha256 };
  const found = digest.startsWith('git:') ? await digestOf(hash, 'git', draft) : sha256;
  if (found === undefined) {
    warn({
      code: 'digest-unchecked',
      message:
        `loadCheckpoint: expected to check the digest of ${shown(url)}, got a page without Web Crypto; ` +
        'serve the page over https.',
    });
    return { sha256 };
  }
  if (digest.endsWith(`:${found}`)) return { sha256 };
  const wrong = new SourceError(
    'source-digest',
    `loadCheckpoint: expected ${shown(url)} with the digest ${digest}, got ${found}; ` +
      'the file was replaced or damaged in transit: try again later, and do not trust it if this persists.',
  );
  return { sha256, wrong };
}

/** Whether a cached file is still what was stored; warns if it is not. */
export async function intact(
  { file, size, sha256 }: StoredFile,
  { url, digest }: RemoteFile,
  { hash, warn, cache }: Downloader,
): Promise<boolean> {
  const sound = file.size === size && (await digestOf(hash, 'sha256', file)) === sha256;
  if (!sound) {
    warn({
      code: 'cache-corrupt',
      message:
        `loadCheckpoint: expected ${shown(url)} in the cache (${cache.name}) as it was stored, ` +
        'got other bytes; it is downloaded again.',
    });
  }
  return sound && (digest === undefined || !digest.startsWith('sha256:') || digest === `sha256:${sha256}`);
}
