import { DataError, reason } from '../errors.ts';
import type { Annotation, NamedBox } from './voc.ts';

/** What a COCO file says about all of its images. */
export interface CocoAnnotations {
  /** Names of the categories, in the order of their ids. */
  readonly classes: readonly string[];
  readonly images: readonly (Annotation & { readonly fileName: string })[];
}

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether a JSON document has the three lists of COCO's objects; captions and others have not. */
export const isCoco = (
  document: unknown,
): document is { images: unknown[]; annotations: unknown[]; categories: unknown[] } =>
  isFields(document) &&
  ['images', 'annotations', 'categories'].every((field) => Array.isArray(document[field]));

/** @throws DataError `annotation-broken` for what is no JSON */
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

/**
 * The objects of a COCO annotation file (`images`, `annotations`, `categories`; boxes as left, top, width, height). Polygons and
 * masks in it are not read.
 *
 * @param source the file's text, or what JSON made of it
 * @param file named in errors
 * @throws DataError `annotation-broken` for what is no COCO file, lacks a field, or refers to an image or category that is not there
 * @example
 * const { classes, images } = parseCoco(await file.text(), file.name);
 */
export function parseCoco(source: unknown, file: string): CocoAnnotations {
  const broken = (expected: string, got: unknown): never => {
    throw new DataError(
      'annotation-broken',
      `parseCoco: expected ${expected}, got ${typeof got === 'string' ? got : JSON.stringify(got)} in ${file}; export the annotations again.`,
    );
  };
  const document = typeof source === 'string' ? parseJson(source, file) : source;
  if (!isCoco(document)) return broken('an object with images, annotations and categories', 'something else');
  const fields = (list: readonly unknown[], what: string): Fields[] =>
    list.map((entry) => (isFields(entry) ? entry : broken(`an object in ${what}`, entry)));
  const number = (value: unknown, what: string): number =>
    typeof value === 'number' && Number.isFinite(value)
      ? value
      : broken(`a number as ${what}`, value ?? 'none');
  const text = (value: unknown, what: string): string =>
    typeof value === 'string' && value !== '' ? value : broken(`a text as ${what}`, value ?? 'none');

  const categories = fields(document.categories, 'categories')
    .map((category) => ({
      id: number(category['id'], 'categories[].id'),
      name: text(category['name'], 'categories[].name'),
    }))
    .sort((a, b) => a.id - b.id);
  const names = new Map(categories.map(({ id, name }) => [id, name]));
  const images = new Map(
    fields(document.images, 'images').map((entry) => {
      const [width, height] = [entry['width'] ?? 0, entry['height'] ?? 0].map((side) =>
        number(side, "an image's size"),
      ) as [number, number];
      const image = {
        fileName: text(entry['file_name'], 'images[].file_name'),
        objects: [] as NamedBox[],
        ...(width > 0 && height > 0 && { size: [height, width] as const }),
      };
      return [number(entry['id'], 'images[].id'), image];
    }),
  );
  for (const annotation of fields(document.annotations, 'annotations')) {
    const { image_id, category_id, bbox, iscrowd } = annotation;
    const image =
      images.get(number(image_id, 'annotations[].image_id')) ??
      broken('an image for every annotation', `image_id ${image_id}`);
    const name =
      names.get(number(category_id, 'annotations[].category_id')) ??
      broken('a category for every annotation', `category_id ${category_id}`);
    if (!Array.isArray(bbox) || bbox.length !== 4) broken('a bbox of four numbers', bbox ?? 'none');
    const [left, top, width, height] = (bbox as unknown[]).map((value) =>
      number(value, 'a side of a bbox'),
    ) as [number, number, number, number];
    image.objects.push({
      name,
      box: [left, top, left + width, top + height],
      ...(iscrowd === 1 && { crowd: true }),
    });
  }
  return { classes: [...new Set(categories.map(({ name }) => name))], images: [...images.values()] };
}
