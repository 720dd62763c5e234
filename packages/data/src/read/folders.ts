import type { Sample } from '../dataSet.ts';
import { DataError } from '../errors.ts';
import type { Placed } from './divide.ts';
import { byPath, isImageFile, splitOf, type DataFile } from './files.ts';

/** Folder per class: `cat/1.jpg`, or `train/cat/1.jpg` beside `val/cat/2.jpg`. Classes in alphabetical order. */
export function readFolders<Source>(
  files: readonly DataFile<Source>[],
  given: readonly string[] | undefined,
  notes: string[],
): { classes: readonly string[]; placed: Placed<'classify', Source>[] } {
  const images = files
    .filter(({ path }) => isImageFile(path))
    .sort(byPath)
    .map((file) => ({ ...file, ...splitOf(file.path) }));
  const inFolders = images.filter(({ rest }) => rest.includes('/'));
  const loose = images.length - inFolders.length;
  if (loose > 0) notes.push(`${loose} images lie in no class's folder and are left out`);
  const classOf = (rest: string): string => rest.slice(0, rest.indexOf('/'));
  const trained = inFolders.filter(({ split }) => split === 'train' || split === undefined);
  const classes =
    given ?? [...new Set((trained.length > 0 ? trained : inFolders).map(({ rest }) => classOf(rest)))].sort();
  const labels = new Map(classes.map((name, label) => [name, label]));
  const placed = inFolders.map(({ path, source, split, rest }) => {
    const target = labels.get(classOf(rest));
    if (target === undefined)
      throw new DataError(
        'class-unknown',
        `readDataSet: expected classes ${classes.join(', ')}, got ${classOf(rest)} of ${path}; rename the folder, or name all classes.`,
      );
    const sample: Sample<'classify', Source> = { name: path, source, target };
    return { split, sample };
  });
  return { classes, placed };
}
