import { ignoredLabel } from '@pvt/core';
import type { Sample, SourceReader } from '../dataSet.ts';
import { DataError } from '../errors.ts';
import { readMask } from '../mask.ts';
import {
  byPath,
  isImageFile,
  join,
  linesOf,
  nameOf,
  readText,
  splitByName,
  splitInPath,
  stemOf,
  type DataFile,
  type Split,
} from './files.ts';
import type { SplitSample } from './splits.ts';

/** Masks that are read to distinguish 0 and 255 from class indices, if the number of classes is known. */
const sampledMasks = 32;

/** An image or mask: its path without extension, split and the folder of images or masks. */
interface KeyedFile<Source> {
  readonly kind: 'image' | 'mask';
  readonly key: string;
  readonly split: Split | undefined;
  readonly file: DataFile<Source>;
}

function keyed<Source>(file: DataFile<Source>): KeyedFile<Source> | undefined {
  const { split, rest } = splitInPath(file.path);
  const parts = rest.split('/');
  const at = parts.findIndex((part, i) => i < parts.length - 1 && /^(images|masks|annotations)$/i.test(part));
  if (at < 0 || !isImageFile(file.path)) return undefined;
  return {
    kind: parts[at]!.toLowerCase() === 'images' ? 'image' : 'mask',
    key: join(...parts.slice(0, at), ...parts.slice(at + 1, -1), stemOf(file.path)),
    split,
    file,
  };
}

/** An image, its mask and their split. */
interface Pair<Source> {
  readonly image: DataFile<Source>;
  readonly mask: DataFile<Source>;
  readonly split: Split | undefined;
}

/**
 * `images/` beside `masks/` (or `annotations/`), with a mask for every image's stem; splits are folders, or
 * lists of stems in `train.txt` and `val.txt`.
 */
export async function readMasks<Source>(
  files: readonly DataFile<Source>[],
  given: readonly string[] | undefined,
  reader: SourceReader<Source>,
  notes: string[],
): Promise<{ readonly classes: readonly string[]; readonly samples: SplitSample<'segment', Source>[] }> {
  const found = [...files].sort(byPath).flatMap((file) => keyed(file) ?? []);
  const images = found.filter(({ kind }) => kind === 'image');
  const masks = found.filter(({ kind }) => kind === 'mask');
  const lists = await readLists(files, reader);
  checkLists(lists, images);
  const pairs = pairUp(images, masks, lists);
  if (masks.length > pairs.length)
    notes.push(`${masks.length - pairs.length} masks have no image and are left out`);
  const listed = files.find(({ path }) => nameOf(path) === 'classes.txt');
  const names = given ?? (listed && linesOf(await readText(listed.source, reader)));
  const { classes, foreground } = await interpretMasks(
    pairs.map(({ mask }) => mask),
    names,
    reader,
  );
  const samples = pairs.map(({ image, mask, split }): SplitSample<'segment', Source> => {
    const target = { mask: mask.source, foreground };
    const sample: Sample<'segment', Source> = { name: image.path, source: image.source, target };
    return { split, sample };
  });
  return { classes, samples };
}

/** The split of every stem in `train.txt`, `val.txt` and `test.txt`. */
async function readLists<Source>(
  files: readonly DataFile<Source>[],
  reader: SourceReader<Source>,
): Promise<ReadonlyMap<string, Split>> {
  const lists = new Map<string, Split>();
  const listFiles = files
    .filter(({ path }) => path.endsWith('.txt') && splitByName(stemOf(path)) !== undefined)
    .sort(byPath);
  for (const { path, source } of listFiles) {
    const split = splitByName(stemOf(path))!;
    for (const line of linesOf(await readText(source, reader))) {
      const stem = isImageFile(line) ? stemOf(line) : nameOf(line);
      const other = lists.get(stem);
      if (other !== undefined && other !== split)
        throw new DataError(
          'split-overlap',
          `readDataSet: expected every image in one split, got ${stem} in ${other} and in ${path}; ` +
            'remove it from one of them.',
        );
      lists.set(stem, split);
    }
  }
  return lists;
}

function checkLists<Source>(lists: ReadonlyMap<string, Split>, images: readonly KeyedFile<Source>[]): void {
  const stems = new Set(images.map(({ file }) => stemOf(file.path)));
  for (const stem of lists.keys()) {
    if (!stems.has(stem))
      throw new DataError(
        'image-missing',
        `readDataSet: expected an image for every line of the lists, got none called ${stem}; ` +
          'add it to images/, or remove the line.',
      );
  }
}

/** Every image with the mask of its split and name. */
function pairUp<Source>(
  images: readonly KeyedFile<Source>[],
  masks: readonly KeyedFile<Source>[],
  lists: ReadonlyMap<string, Split>,
): Pair<Source>[] {
  const id = ({ split, key }: KeyedFile<Source>): string => `${split ?? ''}:${key}`;
  const maskOf = new Map<string, DataFile<Source>>();
  for (const mask of masks) {
    const other = maskOf.get(id(mask));
    if (other !== undefined)
      throw new DataError(
        'mask-ambiguous',
        `readDataSet: expected one mask per image, got ${other.path} and ${mask.file.path}; ` +
          'keep one of them.',
      );
    maskOf.set(id(mask), mask.file);
  }
  return images.map((image) => {
    const { path } = image.file;
    const mask = maskOf.get(id(image));
    if (mask === undefined)
      throw new DataError(
        'mask-missing',
        `readDataSet: expected a mask for every image, got none for ${path}; ` +
          'add it to masks/ under the same name.',
      );
    return { image: image.file, mask, split: image.split ?? lists.get(stemOf(path)) };
  });
}

/**
 * Class names, and whether masks hold 0 and 255 instead of class indices. Without names, every mask is read.
 */
async function interpretMasks<Source>(
  masks: readonly DataFile<Source>[],
  names: readonly string[] | undefined,
  reader: SourceReader<Source>,
): Promise<{ readonly classes: readonly string[]; readonly foreground: boolean }> {
  if (names !== undefined && names.length > 2) return { classes: names, foreground: false };
  const step = names === undefined ? 1 : Math.max(1, masks.length / sampledMasks);
  const values = new Set<number>();
  for (let i = 0; i < masks.length; i += step) {
    const { path, source } = masks[Math.floor(i)]!;
    for (const value of (await readMask(source, path, reader)).values) values.add(value);
  }
  const foreground = values.has(255) && [...values].every((value) => value === 0 || value === 255);
  const highest = Math.max(0, ...[...values].filter((value) => value !== ignoredLabel));
  const count = foreground ? 2 : 1 + highest;
  if (count > 65_535)
    throw new DataError(
      'mask-value',
      `readDataSet: expected class indices in the masks, got values up to ${count - 1}; ` +
        "save each pixel's class index.",
    );
  return { classes: names ?? defaultNames(count), foreground };
}

const defaultNames = (count: number): readonly string[] =>
  count === 2 ? ['background', 'foreground'] : Array.from({ length: count }, (_, i) => `class ${i}`);
