import { ConfigError } from '@pvt/core';
import { tasks, type FileSource, type SourceReader, type Task } from '../dataSet.ts';
import { DataError } from '../errors.ts';
import { readCoco, readVoc } from './boxes.ts';
import { isImageFile, type DataFile } from './files.ts';
import { readFolders } from './folders.ts';
import { readMasks } from './masks.ts';
import { splitDataSet, type DataSetSplits, type SplitSample } from './splits.ts';

export interface ReadOptions {
  /** Class names by index. Default: those of the data set. */
  readonly classes?: readonly string[];
  /** Determines which images are held out for validation if the data set has no splits. Default: 0. */
  readonly seed?: number | string;
  /** Share of the images that is then held out. Default: 0.2. */
  readonly validationSplit?: number;
}

/** A data set's splits, and a description of what was read. */
export interface LoadedDataSet<K extends Task, Source = FileSource> extends DataSetSplits<K, Source> {
  /** A folder per class, Pascal VOC, COCO, or images and masks. */
  readonly layout: Layout;
  /** One sentence that describes the data set. */
  readonly summary: string;
  /** What was cut, left out or decided, one sentence each. */
  readonly notes: readonly string[];
}

const layouts = {
  folders: { name: 'a folder per class', files: 'images in a folder per class' },
  voc: {
    name: 'Pascal VOC',
    files: 'VOC annotations (*.xml) or a COCO file (*.json) and their images',
  },
  coco: { name: 'COCO', files: 'a COCO file with images, annotations and categories' },
  masks: { name: 'images and masks', files: 'images in images/ and their masks in masks/' },
} as const;
type Layout = keyof typeof layouts;

/** The data set in a list of files; `location` names their folder in messages. */
export async function readFiles<K extends Task, Source>(
  files: readonly DataFile<Source>[],
  task: K,
  reader: SourceReader<Source>,
  location: string,
  options: ReadOptions,
): Promise<LoadedDataSet<K, Source>> {
  checkOptions(task, options);
  const { classes: given, seed = 0, validationSplit = 0.2 } = options;
  const notes: string[] = [];
  const layout = layoutFor(files, task);
  const { classes, samples } = await readLayout<K, Source>(files, layout, given, reader, notes);
  if (samples.length === 0) throw nothingFound(files, layout, location);
  const splits = splitDataSet(task, classes, samples, { seed, share: validationSplit }, notes);
  for (const split of ['train', 'validation'] as const) {
    if (splits[split].samples.length === 0)
      throw new DataError(
        'split-empty',
        'readDataSet: expected images for training and for validation, ' +
          `got none for ${split} in ${location}; ` +
          'add images, or change validationSplit.',
      );
  }
  return { layout, summary: summarize(layout, splits), notes, ...splits };
}

function checkOptions(task: Task, { classes, validationSplit = 0.2 }: ReadOptions): void {
  if (!tasks.includes(task))
    throw new ConfigError(
      'task-invalid',
      `readDataSet: expected the task ${tasks.join(', ')}, got ${String(task)}; name one of these.`,
    );
  if (!(validationSplit > 0 && validationSplit < 1))
    throw new ConfigError(
      'validation-split-invalid',
      `readDataSet: expected a validationSplit between 0 and 1, got ${validationSplit}; omit it for 0.2.`,
    );
  if (classes !== undefined && (classes.length === 0 || new Set(classes).size !== classes.length))
    throw new ConfigError(
      'classes-invalid',
      `readDataSet: expected distinct names of classes, got ${JSON.stringify(classes)}; ` +
        'name each once, in the order of their indices.',
    );
}

function layoutFor<Source>(files: readonly DataFile<Source>[], task: Task): Layout {
  if (task === 'classify') return 'folders';
  if (task === 'segment') return 'masks';
  const has = (extension: RegExp): boolean => files.some(({ path }) => extension.test(path));
  return has(/\.xml$/i) || !has(/\.json$/i) ? 'voc' : 'coco';
}

interface SamplesOfLayout<K extends Task, Source> {
  readonly classes: readonly string[];
  readonly samples: readonly SplitSample<K, Source>[];
}

async function readLayout<K extends Task, Source>(
  files: readonly DataFile<Source>[],
  layout: Layout,
  classes: readonly string[] | undefined,
  reader: SourceReader<Source>,
  notes: string[],
): Promise<SamplesOfLayout<K, Source>> {
  const readers: Record<Layout, () => Promise<SamplesOfLayout<Task, Source>>> = {
    folders: async () => readFolders(files, classes, notes),
    voc: () => readVoc(files, classes, reader, notes),
    coco: () => readCoco(files, classes, reader, notes),
    masks: () => readMasks(files, classes, reader, notes),
  };
  // The layout was chosen for the task, so its samples are of this task.
  return (await readers[layout]()) as SamplesOfLayout<K, Source>;
}

function nothingFound<Source>(
  files: readonly DataFile<Source>[],
  layout: Layout,
  location: string,
): DataError {
  const images = files.filter(({ path }) => isImageFile(path)).length;
  const got = files.length === 0 ? 'no file' : `${files.length} files, ${images} of them images,`;
  return new DataError(
    'data-empty',
    `readDataSet: expected ${layouts[layout].files}, got ${got} in ${location}; ` +
      'check the folder and the task.',
  );
}

function summarize<K extends Task, Source>(
  layout: Layout,
  { train, validation, test }: DataSetSplits<K, Source>,
): string {
  const { classes } = train;
  const counts = [
    `${train.samples.length} to train`,
    `${validation.samples.length} to validate`,
    ...(test ? [`${test.samples.length} to test`] : []),
  ].join(', ');
  const names = classes.length > 8 ? `${classes.slice(0, 8).join(', ')}, …` : classes.join(', ');
  const count = `${classes.length} ${classes.length === 1 ? 'class' : 'classes'}`;
  return `${layouts[layout].name}: ${counts}; ${count} (${names})`;
}
