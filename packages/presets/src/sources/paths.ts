import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { basename, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Hash } from './digest.ts';
import { SourceError } from './errors.ts';
import { fileAt } from './folderCache.ts';
import { chooseFiles } from './hub.ts';
import type { CheckpointFiles } from './load.ts';

/** Whether a string can only be a path. */
const isSurelyPath = (text: string) =>
  isAbsolute(text) || /^[.~]|\\|\.(safetensors|pth|pt|bin|ckpt)$/i.test(text);

/**
 * The file at a path, or the files of a folder that make up its checkpoint; undefined for what is no path.
 */
export async function openPath(text: string, file: string | undefined): Promise<CheckpointFiles | undefined> {
  if (/^(?!file:)[a-z][a-z0-9+.-]+:/i.test(text)) return undefined;
  const path = text.startsWith('file:') ? fileURLToPath(text) : text;
  const found = await statOf(path);
  if (found === undefined) {
    if (!isSurelyPath(path)) return undefined;
    throw new SourceError(
      'source-missing',
      `loadCheckpoint: expected a file or folder at ${path}, got nothing there; check the path.`,
    );
  }
  if (!found.isDirectory()) return fileAt(path, basename(path), found.size, found);
  const names = (await readdir(path, { withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => name);
  const chosen = chooseFiles(names, path, file);
  return new Map(await Promise.all(chosen.map(async (name) => [name, await fileIn(path, name)] as const)));
}

async function fileIn(folder: string, name: string) {
  const path = join(folder, name);
  const found = await statOf(path);
  if (found === undefined)
    throw new SourceError(
      'source-missing',
      `loadCheckpoint: expected a file at ${path}, got nothing there; check the folder.`,
    );
  return fileAt(path, name, found.size, found);
}

async function statOf(path: string) {
  try {
    return await stat(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined;
    throw new SourceError(
      'source-unreadable',
      `loadCheckpoint: expected to read ${path}, got ${message}; check its permissions.`,
      { cause },
    );
  }
}

/** Hash by Node's crypto module, in pieces. */
export const nodeHash: Hash = async (algorithm, prefix, file) => {
  const hash = createHash(algorithm.replace('-', '').toLowerCase()).update(prefix);
  const piece = 4 << 20;
  for (let at = 0; at < file.size; at += piece)
    hash.update(await file.read(at, Math.min(file.size, at + piece)));
  return hash.digest('hex');
};
