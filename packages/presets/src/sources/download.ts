import type { ReadableFile } from '../formats/readableFile.ts';
import { digestOf, type Digest, type Hash } from './digest.ts';
import { SourceError, type Warn } from './errors.ts';
import type { ProgressTracker } from './progress.ts';
import { over, retrying, send, shown, type Attempt, type Network } from './request.ts';
import type { Draft, FileCache, StoredFile } from './cache.ts';

/** A file elsewhere, and what is known of it beforehand. */
export interface RemoteFile {
  readonly name: string;
  readonly url: string;
  /** Bytes, where somebody to be trusted states them. */
  readonly size?: number;
  readonly digest?: Digest;
}

export interface Downloader {
  readonly network: Network;
  /** One whose failures cost no load, see `forgiving`. */
  readonly cache: FileCache;
  readonly hash: Hash;
  readonly offline: boolean;
  readonly progress: ProgressTracker;
  readonly warn: Warn;
}

/**
 * A file out of the cache, or over the network into the cache. With a digest, a cached file that has it is taken
 * without asking the server; without one, the server is asked whether its file is still the same.
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
  if (offline) throw notHere(remote, found, cache);

  const draft = await cache.draft(remote.url, remote.name);
  try {
    // Bytes of a version that nothing tells cannot be gone on with, nor can those of another one.
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
      // What an earlier download left may be the culprit.
      await draft.restart(remote.digest);
      await fetchInto(draft, remote, undefined, downloader);
      verdict = await check(draft, remote, downloader);
    }
    if (verdict.wrong !== undefined) throw verdict.wrong;
    network.signal?.throwIfAborted();
    return arrived(await draft.commit(verdict.sha256));
  } catch (error) {
    const goOnLater = network.signal?.aborted || (error instanceof SourceError && error.temporary);
    await (goOnLater && draft.size > 0 && draft.validator !== undefined ? draft.suspend() : draft.discard());
    throw error;
  }

  function arrived(file: ReadableFile): ReadableFile {
    progress.size(remote.name, file.size);
    progress.update(remote.name, file.size);
    return { ...file, name: remote.name };
  }
}

export const notHere = ({ url }: RemoteFile, found: StoredFile | undefined, cache: FileCache) =>
  new SourceError(
    'source-offline',
    `loadCheckpoint: expected ${shown(url)} in the cache (${cache.name}) while offline, got ${found === undefined ? 'nothing' : 'a damaged or another file'}; load it once with a connection.`,
  );

/** Fetches what a draft lacks; gives the cached file instead where the server still has the same. */
const fetchInto = (
  draft: Draft,
  remote: RemoteFile,
  found: StoredFile | undefined,
  downloader: Downloader,
): Promise<StoredFile | undefined> =>
  retrying(downloader.network, remote.url, (attempt) => receive(draft, remote, found, attempt, downloader));

async function receive(
  draft: Draft,
  remote: RemoteFile,
  found: StoredFile | undefined,
  { signal, alive }: Attempt,
  downloader: Downloader,
): Promise<StoredFile | undefined> {
  const { network, progress } = downloader;
  const { url, name, size, digest } = remote;
  const offset = draft.size;
  if (offset > 0 && offset === size) return undefined;

  // A digest tells afterwards whether the pieces belong together; If-Range would cost a browser a question of its own.
  const rest = offset > 0 && {
    range: `bytes=${offset}-`,
    ...(digest === undefined && { 'if-range': draft.validator! }),
  };
  const response = await send(network, url, { 'accept-encoding': 'identity', ...rest }, signal);
  alive();
  const { status, headers, body } = response;
  const validator = digest ?? validatorOf(headers);
  const encoded = (headers.get('content-encoding') ?? 'identity') !== 'identity';
  const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(headers.get('content-range') ?? '');
  const whole = range === null ? undefined : Number(range[2]);

  if (status === 416 || status === 206) {
    if (size !== undefined && whole !== undefined && whole !== size) {
      await body?.cancel();
      throw wrongSize(remote, whole);
    }
    const complete = status === 416 && whole === offset;
    const fits =
      status === 206 &&
      !encoded &&
      Number(range?.[1]) === offset &&
      (validator === undefined || validator === draft.validator);
    if (!fits) await body?.cancel();
    if (complete) return undefined;
    if (!fits) {
      await draft.restart(validator);
      throw new SourceError(
        'source-short',
        `loadCheckpoint: expected bytes from ${offset} on of ${shown(url)}, got other ones; try again.`,
        { temporary: true },
      );
    }
  } else {
    if (
      digest === undefined &&
      validator !== undefined &&
      found?.validator === validator &&
      (await intact(found, remote, downloader))
    ) {
      await body?.cancel();
      return found;
    }
    await draft.restart(validator);
  }

  const length = headers.get('content-length');
  const total = size ?? whole ?? (encoded || length === null ? undefined : Number(length));
  if (total !== undefined) progress.size(name, total);
  progress.update(name, draft.size);
  const reader = body?.getReader();
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
    // The reader may already have failed by itself; the error at hand is the one to tell.
    await reader?.cancel(error).catch(() => undefined);
    throw error;
  }
  await reader?.cancel();
  await refuseText(draft, url);
  if (size !== undefined && draft.size > size) throw wrongSize(remote, draft.size);
  if (total !== undefined && draft.size < total) {
    throw new SourceError(
      'source-short',
      `loadCheckpoint: expected ${total} bytes from ${shown(url)}, got ${draft.size} before the connection ended; try again.`,
      { temporary: true },
    );
  }
  return undefined;
}

/** What If-Range takes: a strong ETag, else a date. */
function validatorOf(headers: Headers): string | undefined {
  const etag = headers.get('etag');
  return etag !== null && !etag.startsWith('W/') ? etag : (headers.get('last-modified') ?? undefined);
}

const wrongSize = ({ url, size }: RemoteFile, got: number) =>
  new SourceError(
    'source-size',
    `loadCheckpoint: expected ${size} bytes at ${shown(url)}, as is stated for it, got ${got === size ? 'others' : `${got} or more`}; the file was replaced or the server is wrong: try again later.`,
  );

/** Refuses what servers send in place of a file. */
async function refuseText(draft: Draft, url: string): Promise<void> {
  const start = new TextDecoder()
    .decode(await draft.read(0, Math.min(512, draft.size)))
    .trimStart()
    .toLowerCase();
  if (/^(<!doctype html|<html|<head)/.test(start)) {
    throw new SourceError(
      'source-html',
      `loadCheckpoint: expected a file at ${shown(url)}, got a web page; give the address of the file itself (on the hub with /resolve/), and check for a login page on the way.`,
    );
  }
  if (start.startsWith('version https://git-lfs')) {
    throw new SourceError(
      'source-lfs-pointer',
      `loadCheckpoint: expected a file at ${shown(url)}, got the pointer that Git LFS keeps for it; give the address of the file itself (on the hub with /resolve/).`,
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
      message: `loadCheckpoint: expected to check the digest of ${shown(url)}, got a page without Web Crypto; serve the page over https.`,
    });
    return { sha256 };
  }
  if (digest.endsWith(`:${found}`)) return { sha256 };
  const wrong = new SourceError(
    'source-digest',
    `loadCheckpoint: expected ${shown(url)} with the digest ${digest}, got ${found}; the file was replaced or damaged on its way: try again later, and do not trust it if it stays so.`,
  );
  return { sha256, wrong };
}

/** Whether a cached file is still what was stored; a warning where it is not. */
export async function intact(
  { file, size, sha256 }: StoredFile,
  { url, digest }: RemoteFile,
  { hash, warn, cache }: Downloader,
): Promise<boolean> {
  const sound = file.size === size && (await digestOf(hash, 'sha256', file)) === sha256;
  if (!sound) {
    warn({
      code: 'cache-corrupt',
      message: `loadCheckpoint: expected ${shown(url)} in the cache (${cache.name}) as it was stored, got other bytes; it is fetched again.`,
    });
  }
  return sound && (digest === undefined || !digest.startsWith('sha256:') || digest === `sha256:${sha256}`);
}
