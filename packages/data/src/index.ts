import { readImage } from '@pvt/adapter-image';
import { ConfigError } from '@pvt/core';
import { createLoaderWith, prepareInThread, type Loader, type LoaderOptions } from './batches/loader.ts';
import { readSamples } from './batches/prepare.ts';
import type { DataSet, FileSource, LabelledImage, SourceReader, Targets, Task } from './dataSet.ts';
import { DataError } from './errors.ts';
import { readFiles, type LoadedDataSet, type ReadOptions } from './read/read.ts';

export * from './shared.ts';

const browserReader: SourceReader = {
  readImage: (source) => readImage(source),
  async readBytes(source) {
    if (source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
    const response = await fetch(source);
    if (response.ok) return new Uint8Array(await response.arrayBuffer());
    throw new DataError(
      'file-unreadable',
      `readDataSet: expected to read ${source}, got status ${response.status}; check the URL.`,
    );
  },
};

/**
 * Reads a data set whose layout is recognized by its files. To classify: a folder per class. To detect:
 * Pascal VOC (`Annotations`, `JPEGImages`, `ImageSets/Main`, or XML files beside their images) or COCO (JSON
 * files). To segment: `images/` beside `masks/`. Splits are `train`, `val` and `test`, as folders or lists;
 * without them, a seeded share is held out for validation.
 *
 * @param source in Node the path of a folder; in a browser the files of a folder that the user has chosen
 * (`<input type="file" webkitdirectory>`)
 * @throws DataError if there is no such data set, or a file of it is broken, missing or unknown; the message
 * names the file
 * @throws ConfigError for invalid options
 * @example
 * const { train, validation, summary } = await readDataSet('bccd', 'detect');
 */
export async function readDataSet<K extends Task>(
  source: string | Iterable<File>,
  task: K,
  options: ReadOptions = {},
): Promise<LoadedDataSet<K>> {
  if (typeof source === 'string')
    throw new DataError(
      'folder-unreadable',
      `readDataSet: expected the files of a folder in a browser, got the path ${source}; ` +
        'pass the files of an <input type="file" webkitdirectory>.',
    );
  // The first folder of each path is the chosen one.
  const files = Array.from(source, (file) => ({
    path: file.webkitRelativePath.split('/').slice(1).join('/') || file.name,
    source: file as FileSource,
  }));
  return readFiles(files, task, browserReader, 'the chosen folder', options);
}

/**
 * Batches of a data set. In Node, worker threads prepare images ahead; the batches do not depend on how many,
 * and idle threads do not keep the process alive. In a browser, images are prepared on the calling thread.
 *
 * @throws ConfigError for invalid options, DataError for a data set without samples; iterating throws
 * DataError for a file that cannot be read, naming it, and the signal's reason after an abort
 * @example
 * const augment = [{ kind: 'flip', horizontal: 0.5 }];
 * const loader = createLoader(train, { size: [240, 320], batch: 8, augment, seed: 7 });
 * for await (const batch of loader.epoch(0)) await step(tf.tensor(batch.inputs, batch.shape), batch.targets);
 * await loader.close();
 */
export function createLoader<K extends Task>(data: DataSet<K>, options: LoaderOptions): Loader<K> {
  if ((options.workers ?? 0) !== 0)
    throw new ConfigError(
      'option-invalid',
      `createLoader: expected no workers in a browser, got ${options.workers}; omit them.`,
    );
  return createLoaderWith(data, options, (plan) => prepareInThread(plan, browserReader));
}

/**
 * Every image of a data set once, unchanged, with its target in its own pixels, as evaluation needs them.
 *
 * @throws DataError for a file that cannot be read, naming it
 * @example
 * for await (const { image, target, name } of labelledImages(validation)) console.log(name, image, target);
 */
export function labelledImages<K extends Task>(
  data: DataSet<K>,
): AsyncGenerator<LabelledImage<Targets[K]> & { readonly name: string }, void, undefined> {
  return readSamples(data, browserReader);
}
