import { describe, expect, it } from 'vitest';
import { parseCoco } from './coco.ts';
import { parseVoc } from './voc.ts';

const voc = (objects: string, size = '<size><width>64</width><height>48</height><depth>3</depth></size>') =>
  `<?xml version="1.0"?><annotation><filename>a.jpg</filename>${size}${objects}</annotation>`;
const object = (
  name: string,
  corners = '<xmin>3</xmin><ymin>5</ymin><xmax>10</xmax><ymax>20.5</ymax>',
  more = '',
) => `<object><name>${name}</name>${more}<bndbox>${corners}</bndbox></object>`;

describe('parseVoc', () => {
  it('converts to counting from 0, with exclusive ends', () => {
    expect(parseVoc(voc(object('cell')), 'a.xml')).toEqual({
      fileName: 'a.jpg',
      size: [48, 64],
      objects: [{ name: 'cell', box: [2, 4, 10, 20.5] }],
    });
  });

  it('leaves names as they are written, and marks difficult objects', () => {
    const { objects } = parseVoc(
      voc(object('007') + object('a &amp; b', undefined, '<difficult>1</difficult>')),
      'a.xml',
    );
    expect(objects.map(({ name, crowd }) => [name, crowd])).toEqual([
      ['007', undefined],
      ['a & b', true],
    ]);
  });

  it('reads images without objects, and unknown sizes', () => {
    expect(parseVoc(voc('', '<size><width>0</width><height>0</height></size>'), 'a.xml')).toEqual({
      fileName: 'a.jpg',
      objects: [],
    });
    expect(parseVoc('<annotation/>', 'a.xml')).toEqual({ objects: [] });
  });

  it.each([
    ['', 'well-formed XML'],
    ['<annotation><object>', 'well-formed XML'],
    ['<html></html>', 'an <annotation>'],
    [voc('<object><bndbox/></object>'), 'a <name>'],
    [voc(object('cell', '<xmin>3</xmin>')), 'a number in <ymin>, got none'],
    [voc(object('cell', '<xmin>left</xmin>')), 'a number in <xmin>, got "left"'],
    [voc('<object>cell</object>'), 'fields in <object>'],
  ])('names the broken file: %s', (text, message) => {
    expect(() => parseVoc(text, 'b/a.xml')).toThrow(
      expect.objectContaining({
        code: 'annotation-broken',
        message: expect.stringMatching(/in b\/a\.xml; export/),
      }),
    );
    expect(() => parseVoc(text, 'b/a.xml')).toThrow(message);
  });
});

describe('parseCoco', () => {
  const document = {
    images: [
      { id: 7, file_name: 'a.jpg', width: 64, height: 48 },
      { id: 8, file_name: 'b.jpg' },
    ],
    categories: [
      { id: 18, name: 'dog' },
      { id: 3, name: 'car' },
    ],
    annotations: [
      { image_id: 7, category_id: 18, bbox: [2, 4, 8, 16.5], iscrowd: 0 },
      { image_id: 7, category_id: 3, bbox: [0, 0, 64, 48], iscrowd: 1 },
    ],
  };

  it('converts boxes to corners, and orders classes by id', () => {
    expect(parseCoco(JSON.stringify(document), 'a.json')).toEqual({
      classes: ['car', 'dog'],
      images: [
        {
          fileName: 'a.jpg',
          size: [48, 64],
          objects: [
            { name: 'dog', box: [2, 4, 10, 20.5] },
            { name: 'car', box: [0, 0, 64, 48], crowd: true },
          ],
        },
        { fileName: 'b.jpg', objects: [] },
      ],
    });
  });

  const broken = (change: object) => JSON.stringify({ ...document, ...change });
  it.each([
    ['{', 'expected JSON'],
    ['[]', 'images, annotations and categories'],
    [broken({ annotations: [{ image_id: 9, category_id: 3, bbox: [0, 0, 1, 1] }] }), 'image_id 9'],
    [broken({ annotations: [{ image_id: 7, category_id: 4, bbox: [0, 0, 1, 1] }] }), 'category_id 4'],
    [
      broken({ annotations: [{ image_id: 7, category_id: 3, bbox: [0, 0, 1] }] }),
      'a bbox of four numbers, got [0,0,1]',
    ],
    [broken({ annotations: [{ image_id: 7, category_id: 3, bbox: [0, 0, 1, null] }] }), 'a side of a bbox'],
    [broken({ annotations: [3] }), 'an object in annotations, got 3'],
    [broken({ images: [{ id: 7 }], annotations: [] }), 'images[].file_name'],
  ])('names the broken file: %s', (text, message) => {
    expect(() => parseCoco(text, 'b/a.json')).toThrow(
      expect.objectContaining({ code: 'annotation-broken', message: expect.stringContaining('b/a.json') }),
    );
    expect(() => parseCoco(text, 'b/a.json')).toThrow(message);
  });
});
