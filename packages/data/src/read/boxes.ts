import type { LabelledBox } from '@pvt/core';
import type { Opener, Sample } from '../dataSet.ts';
import { DataError } from '../errors.ts';
import { isCoco, parseCoco, parseJson } from './coco.ts';
import type { Placed } from './divide.ts';
import {
  byPath,
  folderOf,
  join,
  linesOf,
  nameOf,
  imageIndex,
  readText,
  splitNamed,
  splitOf,
  stemOf,
  type DataFile,
  type Split,
} from './files.ts';
import { parseVoc, type Annotation } from './voc.ts';

interface Found<Source> {
  readonly image: DataFile<Source>;
  readonly split: Split | undefined;
  readonly annotation: Annotation;
  /** The annotation's file. */
  readonly file: string;
}

/** Pascal VOC: an XML file per image, in `Annotations` beside `JPEGImages` and `ImageSets/Main`, or beside the image. */
export async function readVoc<Source>(
  files: readonly DataFile<Source>[],
  given: readonly string[] | undefined,
  opener: Opener<Source>,
  notes: string[],
) {
  const imageOf = imageIndex(files);
  const lists = await readLists(files, opener);
  const found: Found<Source>[] = [];
  const seen = new Set<string>();
  for (const { path, source } of files
    .filter(({ path }) => path.toLowerCase().endsWith('.xml'))
    .sort(byPath)) {
    const annotation = parseVoc(await readText(source, opener), path);
    const folder = folderOf(path);
    const base = nameOf(folder) === 'Annotations' ? folderOf(folder) : folder;
    const image = imageOf(
      [path, ...(annotation.fileName === undefined ? [] : [annotation.fileName])],
      [join(base, 'JPEGImages'), join(base, 'images'), folder],
      path,
    );
    const key = join(base, stemOf(path));
    seen.add(key);
    found.push({
      image,
      annotation,
      file: path,
      split: lists.splits.get(key) ?? (lists.bases.has(base) ? undefined : splitOf(path).split),
    });
  }
  for (const [key] of lists.splits) {
    if (!seen.has(key))
      throw new DataError(
        'annotation-missing',
        `readDataSet: expected an annotation for every line of ImageSets/Main, got none for ${key}; add it, or take the line out.`,
      );
  }
  const classes =
    given ??
    [...new Set(found.flatMap(({ annotation }) => annotation.objects.map(({ name }) => name)))].sort();
  return { classes, placed: place(found, classes, notes) };
}

/** The splits that `ImageSets/Main` lists, by folder and stem. */
async function readLists<Source>(files: readonly DataFile<Source>[], opener: Opener<Source>) {
  const splits = new Map<string, Split>();
  const bases = new Set<string>();
  const main = files
    .filter(({ path }) => /(^|\/)ImageSets\/Main\/(train|val|test)\.txt$/.test(path))
    .sort(byPath);
  for (const { path, source } of main) {
    const base = folderOf(folderOf(folderOf(path)));
    bases.add(base);
    for (const line of linesOf(await readText(source, opener))) {
      const key = join(base, line.split(/\s/)[0]!);
      const split = splitNamed(stemOf(path))!;
      const other = splits.get(key);
      if (other !== undefined && other !== split)
        throw new DataError(
          'split-overlap',
          `readDataSet: expected every image in one split, got ${key} in ${other} and in ${path}; take it out of one of them.`,
        );
      splits.set(key, split);
    }
  }
  return { splits, bases };
}

/** COCO: one JSON file per split, named after it or in its folder. */
export async function readCoco<Source>(
  files: readonly DataFile<Source>[],
  given: readonly string[] | undefined,
  opener: Opener<Source>,
  notes: string[],
) {
  const imageOf = imageIndex(files);
  const found: Found<Source>[] = [];
  const named: { readonly path: string; readonly classes: readonly string[] }[] = [];
  for (const { path, source } of files
    .filter(({ path }) => path.toLowerCase().endsWith('.json'))
    .sort(byPath)) {
    const document = parseJson(await readText(source, opener), path);
    if (!isCoco(document)) {
      notes.push(`${path} has no objects of COCO's and is left out`);
      continue;
    }
    const { classes, images } = parseCoco(document, path);
    named.push({ path, classes });
    const split = splitNamed(stemOf(path)) ?? splitOf(path).split;
    const folder = folderOf(path);
    const base = nameOf(folder) === 'annotations' ? folderOf(folder) : folder;
    // instances_val2017.json speaks of val2017/*.jpg.
    const own = /(?:^|_)([a-z]+\d*)$/.exec(stemOf(path))?.[1] ?? '';
    for (const image of images) {
      const within = folderOf(image.fileName);
      const folders = [folder, join(base, own), join(base, 'images', own), join(base, 'images'), base].map(
        (place) => join(place, within),
      );
      found.push({
        image: imageOf([image.fileName], folders, `${image.fileName} in ${path}`),
        annotation: image,
        file: path,
        split,
      });
    }
  }
  const classes =
    given ??
    named.find(({ path }) => (splitNamed(stemOf(path)) ?? splitOf(path).split) === 'train')?.classes ??
    named[0]?.classes ??
    [];
  return { classes, placed: place(found, classes, notes) };
}

/** Boxes with labels, cut to their image. */
function place<Source>(
  found: readonly Found<Source>[],
  classes: readonly string[],
  notes: string[],
): Placed<'detect', Source>[] {
  const labels = new Map(classes.map((name, label) => [name, label]));
  return found.map(({ image, split, annotation: { objects, size }, file }) => {
    const target = objects.flatMap(({ name, box, crowd }): LabelledBox[] => {
      const label = labels.get(name);
      if (label === undefined)
        throw new DataError(
          'class-unknown',
          `readDataSet: expected classes ${classes.join(', ')}, got ${name} in ${file}; correct the annotation, or name all classes.`,
        );
      const [height, width] = size ?? [Infinity, Infinity];
      const [left, top, right, bottom] = box;
      const cut = [
        Math.max(0, left),
        Math.max(0, top),
        Math.min(width, right),
        Math.min(height, bottom),
      ] as const;
      const described = `${name} [${box.join(', ')}] of ${image.path}${size ? `, ${width} wide and ${height} high,` : ''}`;
      if (cut[2] <= cut[0] || cut[3] <= cut[1]) {
        notes.push(`${described} has no area in the image and is left out (${file})`);
        return [];
      }
      // Tools disagree on whether pixels count from 0 or 1.
      if (box.some((side, i) => Math.abs(side - cut[i]!) > 1))
        notes.push(`${described} reaches beyond the image and is cut (${file})`);
      return [{ box: cut, label, ...(crowd && { crowd }) }];
    });
    const sample: Sample<'detect', Source> = {
      name: image.path,
      source: image.source,
      target,
      ...(size && { size }),
    };
    return { split, sample };
  });
}
