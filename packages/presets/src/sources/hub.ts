import { weightFiles } from '../folder.ts';
import type { ReadableFile } from '../formats/readableFile.ts';
import { JsonError, parseJson, type Json } from '../json.ts';
import { matches } from '../text.ts';
import { digestOf, type Digest } from './digest.ts';
import { intact, notCached, type Downloader, type RemoteFile } from './download.ts';
import { SourceError } from './errors.ts';
import type { HubReference } from './reference.ts';
import { over, retrying, send, shown, type Network } from './request.ts';

/** A commit's hash: its files never change. */
const commit = /^[0-9a-f]{40}$/;
/** Most files of a repository that are listed. */
const maxFiles = 10_000;

/**
 * The files of a hub repository that make up its checkpoint, with the sizes and digests that the hub states
 * for them. The list is cached, for use without a connection.
 *
 * @throws SourceError
 */
export async function hubFiles(
  { repo, revision, file }: HubReference,
  downloader: Downloader,
): Promise<RemoteFile[]> {
  const { endpoint } = downloader.network;
  const [, folder = '', wanted] = /^(?:(.*)\/)?([^/]+)$/.exec(file ?? '') ?? [];
  const at = [`${endpoint}/api/models/${repo}/tree/${encodeURIComponent(revision)}`, ...inUrl(folder)].join(
    '/',
  );
  const files = await listing(at, folder, commit.test(revision), downloader);
  return chooseFiles(
    [...files.keys()],
    [`${repo}@${revision}`, folder].filter(Boolean).join('/'),
    wanted,
  ).map((name) => ({
    name,
    url: [
      endpoint,
      repo,
      'resolve',
      encodeURIComponent(revision),
      ...inUrl(folder),
      encodeURIComponent(name),
    ].join('/'),
    ...files.get(name)!,
  }));
}

const inUrl = (folder: string): string[] => folder.split('/').filter(Boolean).map(encodeURIComponent);

const listName = 'list of files';

const refuse = (at: string, got: string, cause?: unknown): never => {
  throw new SourceError(
    'source-listing',
    `loadCheckpoint: expected a list of files from ${shown(at)}, got ${got}; ` +
      'check the endpoint, and for a login page.',
    { cause },
  );
};

type Listed = ReadonlyMap<string, { readonly size: number; readonly digest: Digest }>;

async function listing(
  at: string,
  folder: string,
  immutable: boolean,
  downloader: Downloader,
): Promise<Listed> {
  const { cache, offline, network, hash, warn } = downloader;
  const stored = await cache.find(at);
  const cached =
    stored && (await intact(stored, { name: listName, url: at }, downloader)) ? stored.file : undefined;
  const readCached = async (file: ReadableFile) =>
    readListing(new TextDecoder().decode(await file.read(0, file.size)), at, folder);
  if (cached !== undefined && (offline || immutable)) return readCached(cached);
  if (offline) throw notCached({ name: listName, url: at }, stored, cache);
  let text: string;
  try {
    text = await fetchListing(at, network);
  } catch (error) {
    if (!(error instanceof SourceError && error.temporary) || cached === undefined) throw error;
    warn({
      code: 'cache-stale',
      message:
        `loadCheckpoint: expected ${shown(at)} to say whether the cached files are the newest, ` +
        `got ${error.code}; using them as they are.`,
      cause: error,
    });
    return readCached(cached);
  }
  const files = readListing(text, at, folder);
  const draft = await cache.draft(at, listName);
  await draft.restart(undefined);
  await draft.append(new TextEncoder().encode(text));
  await draft.commit(await digestOf(hash, 'sha256', draft));
  return files;
}

/** All pages of the hub's list as one JSON array. */
async function fetchListing(at: string, network: Network): Promise<string> {
  const pages: string[] = [];
  for (let url: string | undefined = at; url !== undefined;) {
    const page: string = url;
    const { text, next } = await retrying(network, page, async ({ signal }) => {
      const response = await send(network, page, { accept: 'application/json' }, signal);
      return {
        text: await over(response.text(), page, signal),
        next: /<([^>]+)>;\s*rel="next"/.exec(response.headers.get('link') ?? '')?.[1],
      };
    });
    if (!text.trimStart().startsWith('[')) refuse(at, 'something else');
    pages.push(text.trim().slice(1, -1));
    url = next?.startsWith(`${network.endpoint}/`) ? next : undefined;
  }
  return `[${pages.filter((page) => page.trim() !== '').join(',')}]`;
}

function readListing(text: string, at: string, folder: string): Listed {
  let entries: Json;
  try {
    entries = parseJson(text, maxFiles);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    return refuse(at, cause.message, cause);
  }
  const files = new Map<string, { size: number; digest: Digest }>();
  for (const entry of entries as readonly Json[]) {
    if (!(entry instanceof Map)) return refuse(at, 'something else');
    const [type, path, size, oid, lfs] = ['type', 'path', 'size', 'oid', 'lfs'].map((key) =>
      (entry as ReadonlyMap<string, Json>).get(key),
    );
    if (type !== 'file') continue;
    // Files in Git LFS have a SHA-256, others Git's SHA-1.
    const large = lfs instanceof Map ? (lfs as ReadonlyMap<string, Json>).get('oid') : undefined;
    const digest = typeof large === 'string' ? `sha256:${large}` : `git:${String(oid)}`;
    if (
      typeof path !== 'string' ||
      !Number.isSafeInteger(size) ||
      !/^(sha256:[0-9a-f]{64}|git:[0-9a-f]{40})$/.test(digest)
    )
      return refuse(at, 'a file without path, size or digest');
    files.set(folder === '' ? path : path.slice(folder.length + 1), {
      size: size as number,
      digest: digest as Digest,
    });
  }
  return files;
}

const descriptions = ['config.json', 'preprocessor_config.json'];
/** Other names of weights; a repository must have only one file of such a name. */
const loneWeights = ['*.safetensors', '*.pth', '*.pt', '*.bin'];

/**
 * The files of a repository or folder that make up its checkpoint: the weights, or those that are wanted, and
 * the JSON files that describe them.
 *
 * @throws SourceError `source-missing`, `source-no-weights` or `source-ambiguous`
 */
export function chooseFiles(names: readonly string[], where: string, wanted?: string): string[] {
  const shown = names.slice(0, 8).join(', ') || 'no files';
  if (wanted !== undefined && !names.includes(wanted))
    throw new SourceError(
      'source-missing',
      `loadCheckpoint: expected ${wanted} in ${where}, got ${shown}; check the name.`,
    );
  const weights = wanted ?? weightFiles.find((name) => names.includes(name)) ?? loneFile(names, where);
  if (weights === undefined)
    throw new SourceError(
      'source-no-weights',
      `loadCheckpoint: expected weights (${[...weightFiles, ...loneWeights].join(', ')}) in ${where}, ` +
        `got ${shown}; check the name, or name the file (option file).`,
    );
  const shards = weights.endsWith('.index.json')
    ? names.filter((name) =>
        matches(name, `*-?????-of-?????${weights.includes('safetensors') ? '.safetensors' : '.bin'}`),
      )
    : [];
  return [...new Set([...descriptions.filter((name) => names.includes(name)), weights, ...shards])];
}

function loneFile(names: readonly string[], where: string): string | undefined {
  const found = loneWeights
    .map((pattern) => names.filter((name) => matches(name, pattern)))
    .find(({ length }) => length > 0);
  if (found === undefined || found.length === 1) return found?.[0];
  throw new SourceError(
    'source-ambiguous',
    `loadCheckpoint: expected one checkpoint in ${where}, got ${found.slice(0, 5).join(', ')}; ` +
      'name one of them (option file).',
  );
}
