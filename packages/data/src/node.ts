import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, relative, sep } from 'node:path';
import { ConfigError } from '@pvt/core';
import { createLoaderWith, prepareInThread, type Loader, type LoaderOptions } from './batches/loader.ts';
import { readSamples } from './batches/prepare.ts';
import type { DataSet, FileSource, LabelledImage, Targets, Task } from './dataSet.ts';
import { DataError, reason } from './errors.ts';
import { fileReader } from './fileReader.ts';
import { readFiles, type LoadedDataSet, type ReadOptions } from './read/read.ts';
import { prepareInWorkers } from './workers.ts';

export * from './shared.ts';

// Node's side of the three functions that index.ts documents for both platforms.

export async function readDataSet<K extends Task>(
  folder: string | Iterable<File>,
  task: K,
  options: ReadOptions = {},
): Promise<LoadedDataSet<K>> {
  if (typeof folder !== 'string')
    throw new DataError(
      'folder-unreadable',
      'readDataSet: expected the path of a folder in Node, got a list of files; pass the path.',
    );
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((cause: unknown) => {
    throw new DataError(
      'folder-unreadable',
      `readDataSet: expected a folder at ${folder}, got ${reason(cause)}; check the path.`,
      { cause },
    );
  });
  const files = entries
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ parentPath, name }) => join(parentPath, name))
    .map((path) => ({ source: path as FileSource, path: relative(folder, path).split(sep).join('/') }));
  return readFiles(files, task, fileReader, folder, options);
}

export function createLoader<K extends Task>(data: DataSet<K>, options: LoaderOptions): Loader<K> {
  const { workers = Math.min(4, Math.max(1, availableParallelism() - 1)) } = options;
  if (!Number.isSafeInteger(workers) || workers < 0)
    throw new ConfigError(
      'option-invalid',
      `createLoader: expected workers to be an integer of at least 0, got ${workers}; ` +
        '0 prepares images on the calling thread.',
    );
  return createLoaderWith(data, options, (plan) =>
    workers === 0 ? prepareInThread(plan, fileReader) : prepareInWorkers(workers, plan),
  );
}

export function labelledImages<K extends Task>(
  data: DataSet<K>,
): AsyncGenerator<LabelledImage<Targets[K]> & { readonly name: string }, void, undefined> {
  return readSamples(data, fileReader);
}
