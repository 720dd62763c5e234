import { ignoredLabel } from '@pvt/core';
import type { Opener, Sample } from '../dataSet.ts';
import { DataError } from '../errors.ts';
import { readMask } from '../mask.ts';
import type { Placed } from './divide.ts';
import {
  byPath,
  isImageFile,
  join,
  linesOf,
  nameOf,
  readText,
  splitCalled,
  splitOf,
  stemOf,
  type DataFile,
  type Split,
} from './files.ts';

/** Masks that are looked at to tell 0 and 255 from indices of classes, where the number of classes is known. */
const looks = 32;

/** Where a file belongs: its path without ending, split, and the folder of images or masks. */
function keyOf(path: string): {
  readonly kind: 'image' | 'mask' | undefined;
  readonly key: string;
  readonly split: Split | undefined;
} {
  const { split, rest } = splitOf(path);
  const parts = rest.split('/');
  const at = parts.findIndex((part, i) => i < parts.length - 1 && /^(images|masks|annotations)$/i.test(part));
  if (at < 0 || !isImageFile(path)) return { kind: undefined, key: rest, split };
  return {
    kind: parts[at]!.toLowerCase() === 'images' ? 'image' : 'mask',
    key: join(...parts.slice(0, at), ...parts.slice(at + 1, -1), stemOf(path)),
    split,
  };
}

/** `images/` beside `masks/` (or `annotations/`), a mask for every image's stem; splits as folders or as lists of stems, `train.txt` and `val.txt`. */
export async function readMasks<Source>(
  files: readonly DataFile<Source>[],
  given: readonly string[] | undefined,
  opener: Opener<Source>,
  notes: string[],
) {
  const masks = new Map<string, DataFile<Source>>();
  const images: { file: DataFile<Source>; key: string; split: Split | undefined }[] = [];
  const id = (split: Split | undefined, key: string): string => `${split ?? ''}:${key}`;
  for (const file of [...files].sort(byPath)) {
    const { kind, key, split } = keyOf(file.path);
    if (kind === 'image') images.push({ file, key, split });
    if (kind !== 'mask') continue;
    const other = masks.get(id(split, key));
    if (other !== undefined)
      throw new DataError(
        'mask-ambiguous',
        `readDataSet: expected one mask per image, got ${other.path} and ${file.path}; keep one of them.`,
      );
    masks.set(id(split, key), file);
  }
  const lists = new Map<string, Split>();
  for (const { path, source } of files
    .filter(({ path }) => path.endsWith('.txt') && splitCalled(stemOf(path)) !== undefined)
    .sort(byPath)) {
    for (const line of linesOf(await readText(source, opener))) {
      const stem = isImageFile(line) ? stemOf(line) : nameOf(line);
      const split = splitCalled(stemOf(path))!;
      const other = lists.get(stem);
      if (other !== undefined && other !== split)
        throw new DataError(
          'split-overlap',
          `readDataSet: expected every image in one split, got ${stem} in ${other} and in ${path}; take it out of one of them.`,
        );
      lists.set(stem, split);
    }
  }
  const stems = new Set(images.map(({ file }) => stemOf(file.path)));
  for (const stem of lists.keys()) {
    if (!stems.has(stem))
      throw new DataError(
        'image-missing',
        `readDataSet: expected an image for every line of the lists, got none called ${stem}; add it to images/, or take the line out.`,
      );
  }
  const pairs = images.map(({ file, key, split }) => {
    const mask = masks.get(id(split, key));
    if (mask === undefined)
      throw new DataError(
        'mask-missing',
        `readDataSet: expected a mask for every image, got none for ${file.path}; add it to masks/ under the same name.`,
      );
    return { file, mask, split: split ?? lists.get(stemOf(file.path)) };
  });
  if (masks.size > pairs.length)
    notes.push(`${masks.size - pairs.length} masks have no image and are left out`);
  const listed = files.find(({ path }) => nameOf(path) === 'classes.txt');
  const names = given ?? (listed && linesOf(await readText(listed.source, opener)));
  const { classes, foreground } = await meaning(
    pairs.map(({ mask }) => mask),
    names,
    opener,
  );
  const placed = pairs.map(({ file, mask, split }): Placed<'segment', Source> => {
    const sample: Sample<'segment', Source> = {
      name: file.path,
      source: file.source,
      target: { mask: mask.source, foreground },
    };
    return { split, sample };
  });
  return { classes, placed };
}

/** Classes, and whether masks say 0 and 255: all masks are looked at where nobody names the classes, else some. */
async function meaning<Source>(
  masks: readonly DataFile<Source>[],
  names: readonly string[] | undefined,
  opener: Opener<Source>,
) {
  if (names !== undefined && names.length > 2) return { classes: names, foreground: false };
  const step = names === undefined ? 1 : Math.max(1, masks.length / looks);
  const values = new Set<number>();
  for (let i = 0; i < masks.length; i += step) {
    const { path, source } = masks[Math.floor(i)]!;
    for (const value of (await readMask(source, path, opener)).values) values.add(value);
  }
  const foreground = values.has(255) && [...values].every((value) => value === 0 || value === 255);
  const count = foreground ? 2 : 1 + Math.max(0, ...[...values].filter((value) => value !== ignoredLabel));
  if (count > 65_535)
    throw new DataError(
      'mask-value',
      `readDataSet: expected class indices in the masks, got values up to ${count - 1}; save each pixel's class index.`,
    );
  return {
    classes:
      names ??
      (count === 2 ? ['background', 'foreground'] : Array.from({ length: count }, (_, i) => `class ${i}`)),
    foreground,
  };
}
