import type { Box, Size } from '@pvt/core';
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { DataError } from '../errors.ts';

/** An object as its annotation states it, with its class by name. */
export interface NamedBox {
  readonly name: string;
  readonly box: Box;
  readonly crowd?: boolean;
}

/** What a file says about one image. */
export interface Annotation {
  /** The image's file name according to the annotation, which may be wrong. */
  readonly fileName?: string;
  readonly size?: Size;
  readonly objects: readonly NamedBox[];
}

// Values stay text, because a class may be called 007.
const parser = new XMLParser({
  isArray: (name) => name === 'object',
  parseTagValue: false,
  processEntities: true,
});

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

const broken = (file: string, expected: string, got: string): DataError =>
  new DataError(
    'annotation-broken',
    `parseVoc: expected ${expected}, got ${got} in ${file}; export the annotation again.`,
  );

function numberIn(fields: unknown, field: string, file: string): number {
  const value = isFields(fields) ? fields[field] : undefined;
  const parsed = typeof value === 'string' && value.trim() !== '' ? Number(value) : NaN;
  if (!Number.isFinite(parsed))
    throw broken(file, `a number in <${field}>`, value === undefined ? 'none' : JSON.stringify(value));
  return parsed;
}

function objectIn(fields: unknown, file: string): NamedBox {
  if (!isFields(fields)) throw broken(file, 'fields in <object>', 'none');
  const { name, bndbox, difficult } = fields;
  if (!isText(name)) throw broken(file, 'a <name> in every <object>', 'one without');
  const box = [
    numberIn(bndbox, 'xmin', file) - 1,
    numberIn(bndbox, 'ymin', file) - 1,
    numberIn(bndbox, 'xmax', file),
    numberIn(bndbox, 'ymax', file),
  ] as const;
  return { name, box, ...(difficult === '1' && { crowd: true }) };
}

/**
 * The objects of a Pascal VOC annotation. VOC counts pixels from 1 and includes the last, so a box's left and
 * top are one less here (VOC development kit, `VOCreadrecxml`).
 *
 * @param file named in errors
 * @throws DataError `annotation-broken` for invalid XML, or an object without a name or a corner
 * @example
 * const { objects } = parseVoc(await file.text(), file.name);
 * // [{ name: 'RBC', box: [77, 335, 184, 435] }, …]
 */
export function parseVoc(text: string, file: string): Annotation {
  const verdict = XMLValidator.validate(text);
  if (verdict !== true)
    throw broken(file, 'well-formed XML', `“${verdict.err.msg}” at line ${verdict.err.line}`);
  const document: unknown = parser.parse(text);
  const root = isFields(document) ? document['annotation'] : undefined;
  // An empty <annotation/> is parsed as text.
  if (root === '') return { objects: [] };
  if (!isFields(root)) throw broken(file, 'an <annotation>', 'another document');
  const { object, size, filename } = root;
  const objects = (Array.isArray(object) ? object : []).map((fields) => objectIn(fields, file));
  const [width, height] = isFields(size)
    ? [numberIn(size, 'width', file), numberIn(size, 'height', file)]
    : [0, 0];
  return {
    objects,
    ...(isText(filename) && { fileName: filename }),
    // Some tools write zeros for an unknown size.
    ...(width > 0 && height > 0 && { size: [height, width] as const }),
  };
}
