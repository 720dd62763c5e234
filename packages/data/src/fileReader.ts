import { readFile } from 'node:fs/promises';
import { readImage } from '@pvt/adapter-image';
import type { SourceReader } from './dataSet.ts';
import { DataError, reason } from './errors.ts';

/** Node's files by their paths, and Blobs. */
export const fileReader: SourceReader = {
  readImage: (source) => readImage(source),
  readBytes: async (source) => {
    if (source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
    try {
      return await readFile(source);
    } catch (cause) {
      throw new DataError(
        'file-unreadable',
        `readDataSet: expected to read ${source}, got ${reason(cause)}; check the path and its permissions.`,
        { cause },
      );
    }
  },
};
