import { ConfigError } from '@pvt/core';
import { tasks, type Opener, type Task } from '../dataSet.ts';
import { DataError } from '../errors.ts';
import { readCoco, readVoc } from './boxes.ts';
import { divide, type Divided, type Placed } from './divide.ts';
import { isImageFile, type DataFile } from './files.ts';
import { readFolders } from './folders.ts';
import { readMasks } from './masks.ts';

export interface ReadOptions {
  /** Names of classes by index; what the data set says where absent. */
  readonly classes?: readonly string[];
  /** Draws the images to validate with where the data set has no splits of its own; 0 where absent. */
  readonly seed?: number | string;
  /** Share of the images to validate with then; 0.2 where absent. */
  readonly share?: number;
}

/** A data set, and what was found of it. */
export interface FoundData<K extends Task, Source = string> extends Divided<K, Source> {
  /** How the files lie: a folder per class, Pascal VOC, COCO, or images and masks. */
  readonly layout: 'folders' | 'voc' | 'coco' | 'masks';
  /** One sentence for people. */
  readonly summary: string;
  /** What was cut, left out or decided, one sentence each. */
  readonly notes: readonly string[];
}

const layoutNames = {
  folders: 'a folder per class',
  voc: 'Pascal VOC',
  coco: 'COCO',
  masks: 'images and masks',
} as const;

/** What lies in these files, for a task; `where` names their folder in messages. */
export async function readFiles<K extends Task, Source>(
  files: readonly DataFile<Source>[],
  task: K,
  opener: Opener<Source>,
  where: string,
  { classes: given, seed = 0, share = 0.2 }: ReadOptions,
): Promise<FoundData<K, Source>> {
  if (!tasks.includes(task))
    throw new ConfigError(
      'task-invalid',
      `readDataSet: expected the task ${tasks.join(', ')}, got ${String(task)}; name one of these.`,
    );
  if (!(share > 0 && share < 1))
    throw new ConfigError(
      'share-invalid',
      `readDataSet: expected a share between 0 and 1, got ${share}; leave it out for 0.2.`,
    );
  if (given !== undefined && (given.length === 0 || new Set(given).size !== given.length))
    throw new ConfigError(
      'classes-invalid',
      `readDataSet: expected distinct names of classes, got ${JSON.stringify(given)}; name each once, in the order of their indices.`,
    );
  const notes: string[] = [];
  const has = (ending: RegExp): boolean => files.some(({ path }) => ending.test(path));
  const layout =
    task === 'classify'
      ? 'folders'
      : task === 'segment'
        ? 'masks'
        : has(/\.xml$/i) || !has(/\.json$/i)
          ? 'voc'
          : 'coco';
  const read = {
    folders: () => readFolders(files, given, notes),
    voc: () => readVoc(files, given, opener, notes),
    coco: () => readCoco(files, given, opener, notes),
    masks: () => readMasks(files, given, opener, notes),
  }[layout];
  const { classes, placed } = (await read()) as { classes: readonly string[]; placed: Placed<K, Source>[] };
  if (placed.length === 0) {
    const expected = {
      folders: 'images in a folder per class',
      voc: 'VOC annotations (*.xml) or a COCO file (*.json) and their images',
      coco: 'a COCO file with images, annotations and categories',
      masks: 'images in images/ and their masks in masks/',
    }[layout];
    throw new DataError(
      'data-empty',
      `readDataSet: expected ${expected}, got ${files.length === 0 ? 'no file' : `${files.length} files, ${files.filter(({ path }) => isImageFile(path)).length} of them images,`} in ${where}; check the folder and the task.`,
    );
  }
  const divided = divide(task, classes, placed, { seed, share }, notes);
  for (const split of ['train', 'validation'] as const) {
    if (divided[split].samples.length === 0)
      throw new DataError(
        'split-empty',
        `readDataSet: expected images to train and to validate with, got none for ${split} in ${where}; add images or change the share.`,
      );
  }
  const { train, validation, test } = divided;
  const counts = [
    `${train.samples.length} to train`,
    `${validation.samples.length} to validate`,
    ...(test ? [`${test.samples.length} to test`] : []),
  ].join(', ');
  const few = classes.length > 8 ? `${classes.slice(0, 8).join(', ')}, …` : classes.join(', ');
  return {
    layout,
    summary: `${layoutNames[layout]}: ${counts}; ${classes.length} ${classes.length === 1 ? 'class' : 'classes'} (${few})`,
    notes,
    ...divided,
  };
}
