import type { SourceReader } from '../dataSet.ts';
import { DataError } from '../errors.ts';

/** A file below the folder of a data set, on any platform. */
export interface DataFile<Source> {
  /** Folders and name, with slashes, relative to the data set's folder. */
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

/** The split with exactly this name. */
export const splitByName = (name: string): Split | undefined =>
  splitNames.find((split) => spellings[split].includes(name.toLowerCase()));

/** The split that a name contains: `train2017`, `instances_val2017`, … */
export const splitInName = (name: string): Split | undefined => {
  const words = name
    .toLowerCase()
    .replace(/\d+$/, '')
    .split(/[^a-z]+/);
  return splitNames.find((split) => spellings[split].some((spelling) => words.includes(spelling)));
};

/** The split that one of a file's folders is named after, and the path without that folder. */
export function splitInPath(path: string): { readonly split: Split | undefined; readonly rest: string } {
  const parts = path.split('/');
  const at = parts.slice(0, -1).findIndex((part) => splitByName(part) !== undefined);
  if (at < 0) return { split: undefined, rest: path };
  return { split: splitByName(parts[at]!), rest: [...parts.slice(0, at), ...parts.slice(at + 1)].join('/') };
}

export const isImageFile = (path: string): boolean => /\.(jpe?g|png|webp|avif|gif|tiff?|bmp)$/i.test(path);

export const folderOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));
export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
/** A file's name without folder and extension. */
export const stemOf = (path: string): string => nameOf(path).replace(/\.[^.]*$/, '');
export const join = (...parts: readonly string[]): string => parts.filter((part) => part !== '').join('/');

export function byPath(a: { readonly path: string }, b: { readonly path: string }): number {
  if (a.path === b.path) return 0;
  return a.path < b.path ? -1 : 1;
}

export const readText = async <Source>(source: Source, reader: SourceReader<Source>): Promise<string> =>
  new TextDecoder().decode(await reader.readBytes(source));

/** The lines of a list that are not blank. */
export const linesOf = (text: string): string[] =>
  text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');

/**
 * Finds the image of an annotation: in the first of `folders` that has one with its stem, or the only one
 * anywhere.
 */
export type FindImage<Source> = (
  names: readonly string[],
  folders: readonly string[],
  /** The annotation, for errors. */
  annotation: string,
) => DataFile<Source>;

/** Indexes images by the stem of their file, because annotations may name another extension. */
export function imageIndex<Source>(files: readonly DataFile<Source>[]): FindImage<Source> {
  const byStem = new Map<string, DataFile<Source>[]>();
  for (const file of files.filter(({ path }) => isImageFile(path))) {
    const stem = stemOf(file.path);
    byStem.set(stem, [...(byStem.get(stem) ?? []), file]);
  }
  return (names, folders, annotation) => {
    for (const stem of names.map(stemOf)) {
      const found = byStem.get(stem) ?? [];
      for (const folder of folders) {
        const inFolder = found.filter(({ path }) => folderOf(path) === folder);
        if (inFolder.length === 1) return inFolder[0]!;
        if (inFolder.length > 1) throw ambiguous(annotation, inFolder, 'keep one of them');
      }
      if (found.length === 1) return found[0]!;
      const searched = folders.filter((folder) => folder !== '').join(' or ') || 'the same folder';
      if (found.length > 1) throw ambiguous(annotation, found, `move it into ${searched}`);
    }
    throw new DataError(
      'image-missing',
      `readDataSet: expected an image for ${annotation}, got none called ${names.map(stemOf).join(' or ')} ` +
        'with any extension; add it, or delete the annotation.',
    );
  };
}

const ambiguous = (
  annotation: string,
  found: readonly { readonly path: string }[],
  remedy: string,
): DataError =>
  new DataError(
    'image-ambiguous',
    `readDataSet: expected one image for ${annotation}, ` +
      `got ${found.map(({ path }) => path).join(' and ')}; ${remedy}.`,
  );
