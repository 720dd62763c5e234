import type { Opener } from '../dataSet.ts';
import { DataError } from '../errors.ts';

/** A file below the folder of a data set, on any platform. */
export interface DataFile<Source> {
  /** Folders and name, with slashes, from the data set's folder on. */
  readonly path: string;
  readonly source: Source;
}

export const splitNames = ['train', 'validation', 'test'] as const;
export type Split = (typeof splitNames)[number];

const spellings: Record<Split, readonly string[]> = {
  train: ['train', 'training'],
  validation: ['val', 'valid', 'validation'],
  test: ['test', 'testing'],
};

/** The split that goes by exactly this name. */
export const splitCalled = (name: string): Split | undefined =>
  splitNames.find((split) => spellings[split].includes(name.toLowerCase()));

/** The split that a name speaks of: `train2017`, `instances_val2017`, … */
export const splitNamed = (name: string): Split | undefined => {
  const words = name
    .toLowerCase()
    .replace(/\d+$/, '')
    .split(/[^a-z]+/);
  return splitNames.find((split) => spellings[split].some((spelling) => words.includes(spelling)));
};

/** The split that a folder on the way to a file is named after, and the path without that folder. */
export function splitOf(path: string): { readonly split: Split | undefined; readonly rest: string } {
  const parts = path.split('/');
  const at = parts.slice(0, -1).findIndex((part) => splitCalled(part) !== undefined);
  return at < 0
    ? { split: undefined, rest: path }
    : { split: splitCalled(parts[at]!), rest: [...parts.slice(0, at), ...parts.slice(at + 1)].join('/') };
}

export const isImageFile = (path: string): boolean => /\.(jpe?g|png|webp|avif|gif|tiff?|bmp)$/i.test(path);

export const folderOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));
export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
/** A file's name without folder and ending. */
export const stemOf = (path: string): string => nameOf(path).replace(/\.[^.]*$/, '');
export const join = (...parts: readonly string[]): string => parts.filter((part) => part !== '').join('/');

export const byPath = (a: { readonly path: string }, b: { readonly path: string }): number =>
  a.path < b.path ? -1 : a.path > b.path ? 1 : 0;

export const readText = async <Source>(source: Source, opener: Opener<Source>): Promise<string> =>
  new TextDecoder().decode(await opener.bytes(source));

/** The lines of a list that say something. */
export const linesOf = (text: string): string[] =>
  text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');

/** Images by the stem of their file, to be found again whatever their ending. */
export function imageIndex<Source>(files: readonly DataFile<Source>[]) {
  const byStem = new Map<string, DataFile<Source>[]>();
  for (const file of files.filter(({ path }) => isImageFile(path))) {
    const stem = stemOf(file.path);
    const others = byStem.get(stem);
    if (others === undefined) byStem.set(stem, [file]);
    else others.push(file);
  }
  /**
   * The image of an annotation: in the first of `folders` that has one of this stem, or the only one anywhere.
   *
   * @param by the file that asks, named in errors
   */
  return (names: readonly string[], folders: readonly string[], by: string): DataFile<Source> => {
    for (const stem of names.map(stemOf)) {
      const found = byStem.get(stem) ?? [];
      for (const folder of folders) {
        const here = found.filter(({ path }) => folderOf(path) === folder);
        if (here.length === 1) return here[0]!;
        if (here.length > 1)
          throw new DataError(
            'image-ambiguous',
            `readDataSet: expected one image for ${by}, got ${here.map(({ path }) => path).join(' and ')}; keep one of them.`,
          );
      }
      if (found.length === 1) return found[0]!;
      if (found.length > 1)
        throw new DataError(
          'image-ambiguous',
          `readDataSet: expected one image for ${by}, got ${found.map(({ path }) => path).join(' and ')}; put it into ${folders.filter((folder) => folder !== '').join(' or ') || 'the same folder'}.`,
        );
    }
    throw new DataError(
      'image-missing',
      `readDataSet: expected an image for ${by}, got none called ${names.map(stemOf).join(' or ')} with any ending; add it, or delete the annotation.`,
    );
  };
}
