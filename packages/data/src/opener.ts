import { readFile } from 'node:fs/promises';
import { readImage } from '@pvt/adapter-image/node';
import type { Opener } from './dataSet.ts';
import { DataError, reason } from './errors.ts';

/** Files by their path. */
export const fileOpener: Opener<string> = {
  image: (path) => readImage(path),
  bytes: async (path) => {
    try {
      return await readFile(path);
    } catch (cause) {
      throw new DataError(
        'file-unreadable',
        `readDataSet: expected to read ${path}, got ${reason(cause)}; check the path and its permissions.`,
        { cause },
      );
    }
  },
};
