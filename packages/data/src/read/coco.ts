import { DataError, reason } from '../errors.ts';
import type { Annotation, NamedBox } from './voc.ts';

/** What a COCO file says about all of its images. */
export interface CocoAnnotations {
  /** Names of the categories, in the order of their ids. */
  readonly classes: readonly string[];
  readonly images: readonly CocoImage[];
}

type CocoImage = Annotation & { readonly fileName: string };

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

interface CocoDocument {
  readonly images: readonly unknown[];
  readonly annotations: readonly unknown[];
  readonly categories: readonly unknown[];
}

/**
 * Whether a JSON document has the three lists of an object annotation; COCO's caption files, for one, have
 * not.
 */
export const isCoco = (document: unknown): document is CocoDocument =>
  isFields(document) &&
  ['images', 'annotations', 'categories'].every((field) => Array.isArray(document[field]));

/** @throws DataError `annotation-broken` for invalid JSON */
export function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DataError(
      'annotation-broken',
      `parseCoco: expected JSON, got ${file}, which does not parse (${reason(cause)}); export it again.`,
      { cause },
    );
  }
}

/** Reads values of a document of unknown content, and names the file in errors. */
function createFieldReader(file: string) {
  const broken = (expected: string, got: unknown): DataError =>
    new DataError(
      'annotation-broken',
      `parseCoco: expected ${expected}, ` +
        `got ${typeof got === 'string' ? got : JSON.stringify(got)} in ${file}; ` +
        'export the annotations again.',
    );
  return {
    broken,
    fields(list: readonly unknown[], name: string): Fields[] {
      return list.map((entry) => {
        if (!isFields(entry)) throw broken(`an object in ${name}`, entry);
        return entry;
      });
    },
    number(value: unknown, name: string): number {
      if (typeof value !== 'number' || !Number.isFinite(value))
        throw broken(`a number as ${name}`, value ?? 'none');
      return value;
    },
    text(value: unknown, name: string): string {
      if (typeof value !== 'string' || value === '') throw broken(`a text as ${name}`, value ?? 'none');
      return value;
    },
  };
}
type FieldReader = ReturnType<typeof createFieldReader>;

/** An image's entry whose objects are yet to be added. */
interface PendingImage extends CocoImage {
  readonly objects: NamedBox[];
}

function readImages(document: CocoDocument, read: FieldReader): Map<number, PendingImage> {
  const entries = read.fields(document.images, 'images').map((entry) => {
    const width = read.number(entry['width'] ?? 0, "an image's size");
    const height = read.number(entry['height'] ?? 0, "an image's size");
    const image: PendingImage = {
      fileName: read.text(entry['file_name'], 'images[].file_name'),
      objects: [],
      ...(width > 0 && height > 0 && { size: [height, width] as const }),
    };
    return [read.number(entry['id'], 'images[].id'), image] as const;
  });
  return new Map(entries);
}

function readCategories(document: CocoDocument, read: FieldReader) {
  return read
    .fields(document.categories, 'categories')
    .map((category) => ({
      id: read.number(category['id'], 'categories[].id'),
      name: read.text(category['name'], 'categories[].name'),
    }))
    .sort((a, b) => a.id - b.id);
}

function readBox(bbox: unknown, read: FieldReader): NamedBox['box'] {
  if (!Array.isArray(bbox) || bbox.length !== 4) throw read.broken('a bbox of four numbers', bbox ?? 'none');
  const side = (i: number): number => read.number(bbox[i], 'a side of a bbox');
  const [left, top, width, height] = [side(0), side(1), side(2), side(3)];
  return [left, top, left + width, top + height];
}

/**
 * The objects of a COCO annotation file (`images`, `annotations`, `categories`; boxes as left, top, width,
 * height). Its polygons and masks are not read.
 *
 * @param source the file's text, or the parsed JSON
 * @param file named in errors
 * @throws DataError `annotation-broken` for another document, a missing field, or a reference to a missing
 * image or category
 * @example
 * const { classes, images } = parseCoco(await file.text(), file.name);
 */
export function parseCoco(source: unknown, file: string): CocoAnnotations {
  const read = createFieldReader(file);
  const document = typeof source === 'string' ? parseJson(source, file) : source;
  if (!isCoco(document))
    throw read.broken('an object with images, annotations and categories', 'something else');
  const categories = readCategories(document, read);
  const names = new Map(categories.map(({ id, name }) => [id, name]));
  const images = readImages(document, read);
  for (const annotation of read.fields(document.annotations, 'annotations')) {
    const { image_id, category_id, bbox, iscrowd } = annotation;
    const image = images.get(read.number(image_id, 'annotations[].image_id'));
    if (image === undefined) throw read.broken('an image for every annotation', `image_id ${image_id}`);
    const name = names.get(read.number(category_id, 'annotations[].category_id'));
    if (name === undefined)
      throw read.broken('a category for every annotation', `category_id ${category_id}`);
    image.objects.push({ name, box: readBox(bbox, read), ...(iscrowd === 1 && { crowd: true }) });
  }
  return { classes: [...new Set(categories.map(({ name }) => name))], images: [...images.values()] };
}
