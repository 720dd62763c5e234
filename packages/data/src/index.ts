import { imageFrom } from '@pvt/adapter-image';
import type { Image } from '@pvt/core';
import { createLoaderWith, inThread, type Loader, type LoaderOptions } from './batches/loader.ts';
import { samplesOf } from './batches/prepare.ts';
import type { DataSet, Opener, Task } from './dataSet.ts';
import { readFiles, type FoundData, type ReadOptions } from './read/read.ts';

export * from './shared.ts';

const opener: Opener<Blob> = {
  image: (source): Promise<Image> => imageFrom(source),
  bytes: async (source) => new Uint8Array(await source.arrayBuffer()),
};

/**
 * The data set in a folder that a page's user has chosen (`<input type="file" webkitdirectory>`), recognised by how its files lie:
 * a folder per class, Pascal VOC, COCO, or images and masks.
 *
 * @throws DataError where the files do not make a data set; the message names the file
 * @throws ConfigError for an option that cannot be followed
 * @example
 * const { train, validation, summary } = await readDataSet(input.files!, 'classify');
 */
export function readDataSet<K extends Task>(
  files: Iterable<File>,
  task: K,
  options: ReadOptions = {},
): Promise<FoundData<K, Blob>> {
  // The first folder is the chosen one.
  const entries = Array.from(files, (file) => ({
    path: file.webkitRelativePath.split('/').slice(1).join('/') || file.name,
    source: file as Blob,
  }));
  return readFiles(entries, task, opener, 'the chosen folder', options);
}

/**
 * Batches of a data set of Blobs, Files or decoded images, prepared in this thread.
 *
 * @throws ConfigError for an option that cannot be followed, DataError for a data set without samples
 * @example
 * const loader = createLoader(train, { size: [64, 64], batch: 32, augment: [{ kind: 'flip', horizontal: 0.5 }], seed: 7 });
 * for await (const { inputs, shape, targets } of loader.epoch(0)) await step(tf.tensor4d(inputs, [...shape]), targets);
 */
export function createLoader<K extends Task>(data: DataSet<K, Blob>, options: LoaderOptions): Loader<K> {
  return createLoaderWith(data, options, (plan) => inThread(plan, opener));
}

/**
 * Every image of a data set once, as it is, with its truth in its own pixels: what a model is measured with.
 *
 * @throws DataError for a file that cannot be read, naming it
 * @example
 * for await (const { image, target, name } of truths(validation)) console.log(name, image.width, target);
 */
export const labelledImages = <K extends Task>(data: DataSet<K, Blob>) => samplesOf(data, opener);
