import type { Box, LabelledBox } from '@pvt/core';
import type { Sample, SourceReader } from '../dataSet.ts';
import { DataError } from '../errors.ts';
import { isCoco, parseCoco, parseJson } from './coco.ts';
import {
  byPath,
  folderOf,
  imageIndex,
  join,
  linesOf,
  nameOf,
  readText,
  splitByName,
  splitInName,
  splitInPath,
  stemOf,
  type DataFile,
  type Split,
} from './files.ts';
import type { SplitSample } from './splits.ts';
import { parseVoc, type Annotation, type NamedBox } from './voc.ts';

/** An image's annotation, and the files that both come from. */
interface AnnotatedImage<Source> {
  readonly image: DataFile<Source>;
  readonly split: Split | undefined;
  readonly annotation: Annotation;
  /** The annotation's file. */
  readonly file: string;
}

interface BoxSamples<Source> {
  readonly classes: readonly string[];
  readonly samples: SplitSample<'detect', Source>[];
}

const withExtension = <Source>(files: readonly DataFile<Source>[], extension: string): DataFile<Source>[] =>
  files.filter(({ path }) => path.toLowerCase().endsWith(extension)).sort(byPath);

/**
 * Pascal VOC: an XML file per image, in `Annotations` beside `JPEGImages` and `ImageSets/Main`, or beside the
 * image.
 */
export async function readVoc<Source>(
  files: readonly DataFile<Source>[],
  given: readonly string[] | undefined,
  reader: SourceReader<Source>,
  notes: string[],
): Promise<BoxSamples<Source>> {
  const findImage = imageIndex(files);
  const lists = await readLists(files, reader);
  const annotated: AnnotatedImage<Source>[] = [];
  const seen = new Set<string>();
  for (const { path, source } of withExtension(files, '.xml')) {
    const annotation = parseVoc(await readText(source, reader), path);
    const folder = folderOf(path);
    const base = nameOf(folder) === 'Annotations' ? folderOf(folder) : folder;
    const image = findImage(
      [path, ...(annotation.fileName === undefined ? [] : [annotation.fileName])],
      [join(base, 'JPEGImages'), join(base, 'images'), folder],
      path,
    );
    const key = join(base, stemOf(path));
    seen.add(key);
    const split = lists.splits.get(key) ?? (lists.bases.has(base) ? undefined : splitInPath(path).split);
    annotated.push({ image, annotation, file: path, split });
  }
  for (const key of lists.splits.keys()) {
    if (!seen.has(key))
      throw new DataError(
        'annotation-missing',
        `readDataSet: expected an annotation for every line of ImageSets/Main, got none for ${key}; ` +
          'add it, or remove the line.',
      );
  }
  const named = annotated.flatMap(({ annotation }) => annotation.objects.map(({ name }) => name));
  const classes = given ?? [...new Set(named)].sort();
  return { classes, samples: toSamples(annotated, classes, notes) };
}

/** The splits that `ImageSets/Main` lists, by folder and stem. */
async function readLists<Source>(files: readonly DataFile<Source>[], reader: SourceReader<Source>) {
  const splits = new Map<string, Split>();
  const bases = new Set<string>();
  const lists = files
    .filter(({ path }) => /(^|\/)ImageSets\/Main\/(train|val|test)\.txt$/.test(path))
    .sort(byPath);
  for (const { path, source } of lists) {
    const base = folderOf(folderOf(folderOf(path)));
    const split = splitByName(stemOf(path))!;
    bases.add(base);
    for (const line of linesOf(await readText(source, reader))) {
      const key = join(base, line.split(/\s/)[0]!);
      const other = splits.get(key);
      if (other !== undefined && other !== split)
        throw new DataError(
          'split-overlap',
          `readDataSet: expected every image in one split, got ${key} in ${other} and in ${path}; ` +
            'remove it from one of them.',
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
  reader: SourceReader<Source>,
  notes: string[],
): Promise<BoxSamples<Source>> {
  const findImage = imageIndex(files);
  const annotated: AnnotatedImage<Source>[] = [];
  const classesOf: { readonly split: Split | undefined; readonly classes: readonly string[] }[] = [];
  for (const { path, source } of withExtension(files, '.json')) {
    const document = parseJson(await readText(source, reader), path);
    if (!isCoco(document)) {
      notes.push(`${path} is no COCO annotation of objects and is left out`);
      continue;
    }
    const { classes, images } = parseCoco(document, path);
    const split = splitInName(stemOf(path)) ?? splitInPath(path).split;
    classesOf.push({ split, classes });
    for (const annotation of images) {
      const { fileName } = annotation;
      const image = findImage([fileName], cocoFolders(path, fileName), `${fileName} in ${path}`);
      annotated.push({ image, annotation, file: path, split });
    }
  }
  const train = classesOf.find(({ split }) => split === 'train') ?? classesOf[0];
  const classes = given ?? train?.classes ?? [];
  return { classes, samples: toSamples(annotated, classes, notes) };
}

/** Folders that an image of a COCO file may be in, the likeliest first. */
function cocoFolders(path: string, fileName: string): string[] {
  const folder = folderOf(path);
  const base = nameOf(folder) === 'annotations' ? folderOf(folder) : folder;
  // instances_val2017.json annotates val2017/*.jpg.
  const splitFolder = /(?:^|_)([a-z]+\d*)$/.exec(stemOf(path))?.[1] ?? '';
  const folders = [
    folder,
    join(base, splitFolder),
    join(base, 'images', splitFolder),
    join(base, 'images'),
    base,
  ];
  return folders.map((parent) => join(parent, folderOf(fileName)));
}

/** Samples with labels instead of names, and boxes cut to their image. */
function toSamples<Source>(
  annotated: readonly AnnotatedImage<Source>[],
  classes: readonly string[],
  notes: string[],
): SplitSample<'detect', Source>[] {
  const labels = new Map(classes.map((name, label) => [name, label]));
  return annotated.map((one) => {
    const { image, split, annotation, file } = one;
    const target = annotation.objects.flatMap((object): LabelledBox[] => {
      const label = labels.get(object.name);
      if (label === undefined)
        throw new DataError(
          'class-unknown',
          `readDataSet: expected classes ${classes.join(', ')}, got ${object.name} in ${file}; ` +
            'correct the annotation, or name all classes.',
        );
      const box = boxInImage(object, one, notes);
      return box ? [{ box, label, ...(object.crowd && { crowd: true }) }] : [];
    });
    const { size } = annotation;
    const sample: Sample<'detect', Source> = {
      name: image.path,
      source: image.source,
      target,
      ...(size && { size }),
    };
    return { split, sample };
  });
}

/** The part of a box inside its image, or undefined if there is none; both are noted. */
function boxInImage<Source>(
  { name, box }: NamedBox,
  { image, annotation: { size }, file }: AnnotatedImage<Source>,
  notes: string[],
): Box | undefined {
  const [height, width] = size ?? [Infinity, Infinity];
  const [left, top, right, bottom] = box;
  const cut = [
    Math.max(0, left),
    Math.max(0, top),
    Math.min(width, right),
    Math.min(height, bottom),
  ] as const;
  const sides = size ? `, ${width} wide and ${height} high,` : '';
  const described = `${name} [${box.join(', ')}] of ${image.path}${sides}`;
  if (cut[2] <= cut[0] || cut[3] <= cut[1]) {
    notes.push(`${described} has no area in the image and is left out (${file})`);
    return undefined;
  }
  // One pixel is no reason for a note: tools disagree on whether pixels count from 0 or 1.
  if (box.some((side, i) => Math.abs(side - cut[i]!) > 1))
    notes.push(`${described} reaches beyond the image and is cut (${file})`);
  return cut;
}
