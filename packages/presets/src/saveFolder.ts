import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ConfigError } from '@pvt/core';

/**
 * Writes files into a folder, which is created if it does not exist. Each file appears complete or not at
 * all, and none before all of them are on the disk. Files of the same names are replaced, others stay.
 *
 * @throws ConfigError `file-name` for names that are paths; errors of the file system, with no partial file
 *   left behind
 * @example
 * await saveFolder('my-pvt', savePretrained(checkpoint, { layout: 'huggingFace', epsilon: 'layout' }));
 */
export async function saveFolder(folder: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  for (const name of files.keys()) {
    if (name === '' || name === '.' || name === '..' || /[\\/\0]/.test(name) || basename(name) !== name)
      throw new ConfigError(
        'file-name',
        `saveFolder: expected names of files, got ${JSON.stringify(name.slice(0, 80))}; ` +
          'leave folders out of them.',
      );
  }
  await mkdir(folder, { recursive: true });
  const drafts = Array.from(files, ([name, bytes]) => ({
    path: join(folder, name),
    draft: join(folder, `.${name}.${randomUUID()}.part`),
    bytes,
  }));
  try {
    for (const { draft, bytes } of drafts) {
      const file = await open(draft, 'wx');
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
    }
    for (const { draft, path } of drafts) await rename(draft, path);
  } catch (error) {
    await Promise.all(drafts.map(({ draft }) => rm(draft, { force: true })));
    throw error;
  }
}
