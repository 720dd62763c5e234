import type { Size } from '@pvt/core';
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { DataError } from '../errors.ts';

/** An object as an annotation has it, its class by name. */
export interface NamedBox {
  readonly name: string;
  readonly box: readonly [left: number, top: number, right: number, bottom: number];
  readonly crowd?: boolean;
}

/** What a file says about one image. */
export interface Annotation {
  /** The image's file as the annotation names it; it need not be right. */
  readonly fileName?: string;
  readonly size?: Size;
  readonly objects: readonly NamedBox[];
}

// Values stay text: a class may be called 007.
const parser = new XMLParser({
  isArray: (name) => name === 'object',
  parseTagValue: false,
  processEntities: true,
});

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * The objects of a Pascal VOC annotation. VOC counts pixels from 1 and includes the last, so a box's left and top are one less
 * here (VOC development kit, `VOCreadrecxml`).
 *
 * @param file named in errors
 * @throws DataError `annotation-broken` for what is no XML, or lacks a name or a corner
 * @example
 * const { objects } = parseVoc(await file.text(), file.name); // [{ name: 'RBC', box: [77, 335, 184, 435] }, …]
 */
export function parseVoc(text: string, file: string): Annotation {
  const broken = (expected: string, got: string): never => {
    throw new DataError(
      'annotation-broken',
      `parseVoc: expected ${expected}, got ${got} in ${file}; export the annotation again.`,
    );
  };
  const verdict = XMLValidator.validate(text);
  if (verdict !== true) broken('well-formed XML', `“${verdict.err.msg}” at line ${verdict.err.line}`);
  const document: unknown = parser.parse(text);
  const root = isFields(document) ? document['annotation'] : undefined;
  // An empty <annotation/> is parsed as text.
  if (!isFields(root)) return root === '' ? { objects: [] } : broken('an <annotation>', 'another document');

  const number = (fields: unknown, field: string): number => {
    const value = isFields(fields) ? fields[field] : undefined;
    const parsed = typeof value === 'string' && value.trim() !== '' ? Number(value) : NaN;
    return Number.isFinite(parsed)
      ? parsed
      : broken(`a number in <${field}>`, value === undefined ? 'none' : JSON.stringify(value));
  };
  const objects = (Array.isArray(root['object']) ? root['object'] : []).map((object: unknown): NamedBox => {
    const fields = isFields(object) ? object : broken('fields in <object>', 'none');
    const name =
      typeof fields['name'] === 'string' && fields['name'] !== ''
        ? fields['name']
        : broken('a <name> in every <object>', 'one without');
    const corners = fields['bndbox'];
    const box = [
      number(corners, 'xmin') - 1,
      number(corners, 'ymin') - 1,
      number(corners, 'xmax'),
      number(corners, 'ymax'),
    ] as const;
    return { name, box, ...(fields['difficult'] === '1' && { crowd: true }) };
  });
  const size = root['size'];
  const [width, height] = isFields(size) ? [number(size, 'width'), number(size, 'height')] : [0, 0];
  const fileName = root['filename'];
  return {
    objects,
    ...(typeof fileName === 'string' && fileName !== '' && { fileName }),
    // Some tools write zeros where they do not know.
    ...(width > 0 && height > 0 && { size: [height, width] as const }),
  };
}
