import type { Sample } from '../dataSet.ts';
import { DataError } from '../errors.ts';
import { byPath, isImageFile, splitInPath, type DataFile } from './files.ts';
import type { SplitSample } from './splits.ts';

/**
 * A folder per class: `cat/1.jpg`, or `train/cat/1.jpg` beside `val/cat/2.jpg`. Classes are in alphabetical
 * order.
 */
export function readFolders<Source>(
  files: readonly DataFile<Source>[],
  given: readonly string[] | undefined,
  notes: string[],
): { readonly classes: readonly string[]; readonly samples: SplitSample<'classify', Source>[] } {
  const images = files
    .filter(({ path }) => isImageFile(path))
    .sort(byPath)
    .map((file) => ({ ...file, ...splitInPath(file.path) }));
  const inFolders = images.filter(({ rest }) => rest.includes('/'));
  const omitted = images.length - inFolders.length;
  if (omitted > 0) notes.push(`${omitted} images are in no class's folder and are left out`);
  const classOf = (rest: string): string => rest.slice(0, rest.indexOf('/'));
  const train = inFolders.filter(({ split }) => split === 'train' || split === undefined);
  const classes =
    given ?? [...new Set((train.length > 0 ? train : inFolders).map(({ rest }) => classOf(rest)))].sort();
  const labels = new Map(classes.map((name, label) => [name, label]));
  const samples = inFolders.map(({ path, source, split, rest }) => {
    const target = labels.get(classOf(rest));
    if (target === undefined)
      throw new DataError(
        'class-unknown',
        `readDataSet: expected classes ${classes.join(', ')}, got ${classOf(rest)} of ${path}; ` +
          'rename the folder, or name all classes.',
      );
    const sample: Sample<'classify', Source> = { name: path, source, target };
    return { split, sample };
  });
  return { classes, samples };
}
