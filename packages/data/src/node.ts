import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, relative, sep } from 'node:path';
import { ConfigError } from '@pvt/core';
import { createLoaderWith, inThread, type Loader, type LoaderOptions } from './batches/loader.ts';
import { samplesOf } from './batches/prepare.ts';
import type { DataSet, Task } from './dataSet.ts';
import { DataError, reason } from './errors.ts';
import { fileOpener } from './opener.ts';
import { readFiles, type FoundData, type ReadOptions } from './read/read.ts';
import { inWorkers } from './workers.ts';

export * from './shared.ts';

/**
 * The data set in a folder, recognised by how its files lie. To classify: a folder per class. To detect: Pascal VOC (`Annotations`,
 * `JPEGImages`, `ImageSets/Main`, or XML files beside their images) or COCO (JSON files). To segment: `images/` beside `masks/`. Splits
 * are `train`, `val` and `test` as folders or lists; without them a seeded share is held back.
 *
 * @throws DataError where the folder holds no such data set, or a file of it is broken, missing or unknown; the message names the file
 * @throws ConfigError for an option that cannot be followed
 * @example
 * const { train, validation, summary } = await readDataSet('bccd', 'detect');
 */
export async function readDataSet<K extends Task>(
  folder: string,
  task: K,
  options: ReadOptions = {},
): Promise<FoundData<K>> {
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
    .map((source) => ({ source, path: relative(folder, source).split(sep).join('/') }));
  return readFiles(files, task, fileOpener, folder, options);
}

export interface NodeLoaderOptions extends LoaderOptions {
  /** Threads that prepare images, 0 for this one; one less than the machine's cores, but 1 to 4, where absent. */
  readonly workers?: number;
}

/**
 * Batches of a data set of files or decoded images, prepared ahead in worker threads. What is in them does not depend on the number of
 * threads. Idle threads do not keep the process alive.
 *
 * @throws ConfigError for an option that cannot be followed, DataError for a data set without samples; iterating throws DataError for a
 * file that cannot be read, naming it, and the signal's reason after an abort
 * @example
 * const loader = createLoader(train, { size: [240, 320], batch: 8, augment: [{ kind: 'flip', horizontal: 0.5 }], seed: 7 });
 * for await (const { inputs, shape, targets } of loader.epoch(0)) await step(tf.tensor4d(inputs, [...shape]), targets);
 * await loader.close();
 */
export function createLoader<K extends Task>(data: DataSet<K>, options: NodeLoaderOptions): Loader<K> {
  const { workers = Math.min(4, Math.max(1, availableParallelism() - 1)) } = options;
  if (!Number.isSafeInteger(workers) || workers < 0)
    throw new ConfigError(
      'option-invalid',
      `createLoader: expected workers to be an integer from 0 on, got ${workers}; 0 prepares images in this thread.`,
    );
  return createLoaderWith(data, options, (plan) =>
    workers === 0 ? inThread(plan, fileOpener) : inWorkers(workers, plan),
  );
}

/**
 * Every image of a data set once, as it is, with its truth in its own pixels: what a model is measured with.
 *
 * @throws DataError for a file that cannot be read, naming it
 * @example
 * for await (const { image, target, name } of truths(validation)) console.log(name, image.width, target);
 */
export const labelledImages = <K extends Task>(data: DataSet<K, string>) => samplesOf(data, fileOpener);
