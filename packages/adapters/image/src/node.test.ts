import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigError, type Image } from '@pvt/core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { synthetic } from './fixtures/synthetic.ts';
import { encodePng, readImage } from './node.ts';
import { fromRgba, ImageError, type ImageSource } from './image.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pvt-image-'));
});
afterAll(() => rm(folder, { recursive: true }));

const made = ({ width, height, data }: Image) => sharp(data, { raw: { width, height, channels: 3 } });

const largestDifference = (a: Uint8Array, b: Uint8Array) => {
  expect(a.length).toBe(b.length);
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);
};

describe('formats', () => {
  const image = synthetic(40, 27);

  test('a PNG survives the round trip by bytes, path, URL and Blob', async () => {
    const bytes = await encodePng(image);
    const path = join(folder, 'whole.png');
    await writeFile(path, bytes);
    const blob = new Blob([new Uint8Array(bytes)]);
    for (const source of [bytes, path, pathToFileURL(path), blob])
      expect(await readImage(source)).toEqual(image);
  });

  test('lossless WebP and TIFF preserve every pixel', async () => {
    expect(await readImage(await made(image).webp({ lossless: true }).toBuffer())).toEqual(image);
    expect(await readImage(await made(image).tiff({ compression: 'lzw' }).toBuffer())).toEqual(image);
  });

  test('a constant JPEG', async () => {
    const { data } = await readImage(
      await made({ ...image, data: image.data.slice().fill(96) })
        .jpeg()
        .toBuffer(),
    );
    expect(new Set(data)).toEqual(new Set([96]));
  });

  test('grayscale', async () => {
    const bytes = await sharp(Uint8Array.of(0, 77, 255), { raw: { width: 3, height: 1, channels: 1 } })
      .toColourspace('b-w')
      .png()
      .toBuffer();
    expect((await sharp(bytes).metadata()).channels).toBe(1);
    expect(await readImage(bytes)).toEqual({
      width: 3,
      height: 1,
      data: Uint8Array.of(0, 0, 0, 77, 77, 77, 255, 255, 255),
    });
  });

  test('a palette', async () => {
    const bytes = await made({ width: 2, height: 1, data: Uint8Array.of(255, 0, 0, 0, 0, 255) })
      .png({ palette: true })
      .toBuffer();
    expect((await sharp(bytes).metadata()).isPalette).toBe(true);
    expect(Array.from((await readImage(bytes)).data)).toEqual([255, 0, 0, 0, 0, 255]);
  });

  test('16 bits are cut to their upper 8', async () => {
    const deep = Uint16Array.of(0x0000, 0x8040, 0xffff, 0x1234, 0xabcd, 0x00ff);
    const bytes = await sharp(deep, { raw: { width: 2, height: 1, channels: 3 } })
      .toColourspace('rgb16')
      .png()
      .toBuffer();
    expect((await sharp(bytes).metadata()).depth).toBe('ushort');
    expect(Array.from((await readImage(bytes)).data)).toEqual([0x00, 0x80, 0xff, 0x12, 0xab, 0x00]);
  });

  test('16-bit grayscale', async () => {
    const bytes = await sharp(Uint16Array.of(0x0000, 0x8040, 0xffff), {
      raw: { width: 3, height: 1, channels: 1 },
    })
      .toColourspace('grey16')
      .png()
      .toBuffer();
    expect((await sharp(bytes).metadata()).depth).toBe('ushort');
    expect(Array.from((await readImage(bytes)).data)).toEqual([0, 0, 0, 0x80, 0x80, 0x80, 255, 255, 255]);
  });

  test('CMYK becomes sRGB', async () => {
    const halves = { width: 32, height: 16, data: new Uint8Array(32 * 16 * 3).fill(255) };
    for (let i = 0; i < halves.data.length; i += 3) if ((i / 3) % 32 < 16) halves.data.set([200, 40, 40], i);
    const bytes = await made(halves).toColourspace('cmyk').tiff({ compression: 'lzw' }).toBuffer();
    expect((await sharp(bytes).metadata()).space).toBe('cmyk');
    const { width, height, data } = await readImage(bytes);
    expect([width, height]).toEqual([32, 16]);
    // A press cannot print every color, so the result is near, not equal.
    expect(largestDifference(data, halves.data)).toBeLessThanOrEqual(32);
  });

  test('an embedded profile is applied', async () => {
    const red = { width: 1, height: 1, data: Uint8Array.of(255, 0, 0) };
    const bytes = await made(red).withIccProfile('p3').png().toBuffer();
    // The red of sRGB in Display P3 is (0.9175, 0.2003, 0.1386), CSS Color 4.
    expect(
      largestDifference(await sharp(bytes, { ignoreIcc: true }).raw().toBuffer(), Uint8Array.of(234, 51, 35)),
    ).toBeLessThanOrEqual(1);
    expect(largestDifference((await readImage(bytes)).data, red.data)).toBeLessThanOrEqual(2);
  });

  test('transparency is composited over white', async () => {
    const rgba = Uint8Array.of(255, 0, 0, 255, 255, 0, 0, 128, 10, 20, 30, 0, 0, 0, 0, 51);
    const bytes = await sharp(rgba, { raw: { width: 2, height: 2, channels: 4 } })
      .png()
      .toBuffer();
    const expected = [255, 0, 0, 255, 127, 127, 255, 255, 255, 204, 204, 204];
    expect(Array.from((await readImage(bytes)).data)).toEqual(expected);
    expect(Array.from(fromRgba(rgba, 2, 2).data)).toEqual(expected);
  });

  test('transparency in grayscale and in 16 bits', async () => {
    const grey = await sharp(Uint8Array.of(0, 51, 77, 255), { raw: { width: 2, height: 1, channels: 2 } })
      .toColourspace('b-w')
      .png()
      .toBuffer();
    expect((await sharp(grey).metadata()).channels).toBe(2);
    expect(Array.from((await readImage(grey)).data)).toEqual([204, 204, 204, 77, 77, 77]);
    const deep = Uint16Array.of(0xffff, 0, 0, 0x8080, 0x1234, 0x8040, 0xffff, 0xffff);
    const bytes = await sharp(deep, { raw: { width: 2, height: 1, channels: 4 } })
      .toColourspace('rgb16')
      .png()
      .toBuffer();
    expect((await sharp(bytes).metadata()).depth).toBe('ushort');
    expect(Array.from((await readImage(bytes)).data)).toEqual([255, 127, 127, 0x12, 0x80, 0xff]);
  });

  test('of an animation the first frame', async () => {
    const frames = await Promise.all(
      ['red', 'blue'].map((background) =>
        sharp({ create: { width: 5, height: 4, channels: 3, background } })
          .png()
          .toBuffer(),
      ),
    );
    const bytes = await sharp(frames, { join: { animated: true } })
      .gif()
      .toBuffer();
    expect((await sharp(bytes).metadata()).pages).toBe(2);
    const { width, height, data } = await readImage(bytes);
    expect([width, height]).toEqual([5, 4]);
    expect(Array.from(data.subarray(0, 3))).toEqual([255, 0, 0]);
  });
});

/** How EXIF 2.3 (tag 0x0112) wants the stored rows abc, def to be shown. */
test.each([
  [1, ['abc', 'def']],
  [2, ['cba', 'fed']],
  [3, ['fed', 'cba']],
  [4, ['def', 'abc']],
  [5, ['ad', 'be', 'cf']],
  [6, ['da', 'eb', 'fc']],
  [7, ['fc', 'eb', 'da']],
  [8, ['cf', 'be', 'ad']],
])('EXIF orientation %i', async (orientation, shown) => {
  const stored = { width: 3, height: 2, data: Uint8Array.from('abcdef', (letter) => letter.charCodeAt(0)) };
  const rgb = Uint8Array.from({ length: 18 }, (_, i) => stored.data[Math.floor(i / 3)]!);
  const bytes = await made({ ...stored, data: rgb })
    .withMetadata({ orientation })
    .webp({ lossless: true })
    .toBuffer();
  expect((await sharp(bytes).metadata()).orientation).toBe(orientation);
  const { width, height, data } = await readImage(bytes);
  const letters = String.fromCharCode(...data.filter((_, i) => i % 3 === 0));
  expect(Array.from({ length: height }, (_, y) => letters.slice(y * width, (y + 1) * width))).toEqual(shown);
});

describe('errors', () => {
  const failsWith = async (source: ImageSource, code: string, options = {}) => {
    const error: unknown = await readImage(source, options).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ImageError);
    expect(error).toMatchObject({
      code,
      message: expect.stringMatching(/^readImage: expected .+, got .+; .+\.$/s),
    });
  };

  test('a missing file', () => failsWith(join(folder, 'nowhere.jpg'), 'image-missing'));
  test('a directory', () => failsWith(folder, 'image-is-directory'));
  test('a file below a file', async () => {
    await writeFile(join(folder, 'file'), 'x');
    await failsWith(join(folder, 'file', 'image.png'), 'image-unreadable');
  });
  test('an element, which only a browser can read', () => failsWith({} as ImageBitmap, 'image-unreadable'));
  test('an empty file', async () => {
    await writeFile(join(folder, 'empty.png'), '');
    await failsWith(join(folder, 'empty.png'), 'image-empty');
    await failsWith(new Uint8Array(), 'image-empty');
  });
  test('a text', async () => {
    await writeFile(join(folder, 'text.jpg'), 'This is no image.');
    await failsWith(join(folder, 'text.jpg'), 'image-unknown-format');
  });
  test('a truncated JPEG', async () => {
    const bytes = await made(synthetic(200, 150)).jpeg().toBuffer();
    await failsWith(bytes.subarray(0, bytes.length / 2), 'image-damaged');
  });
  test('a truncated PNG', async () => {
    const bytes = await made(synthetic(200, 150)).png().toBuffer();
    await failsWith(bytes.subarray(0, bytes.length / 2), 'image-damaged');
  });

  test('a PNG of 68 bytes that claims 100000x100000 pixels', async () => {
    const bomb = Buffer.from(
      '89504e470d0a1a0a0000000d49484452000186a0000186a0080200000027309c9f' +
        '0000000b49444154789c63604005000010000139bd8f650000000049454e44ae426082',
      'hex',
    );
    const started = performance.now();
    await failsWith(bomb, 'image-too-large');
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  test('one pixel more than allowed', async () => {
    const bytes = await encodePng(synthetic(10, 10));
    await failsWith(bytes, 'image-too-large', { maxPixels: 99 });
    expect(await readImage(bytes, { maxPixels: 100 })).toEqual(synthetic(10, 10));
  });

  test('an invalid limit', async () => {
    await expect(readImage('any.png', { maxPixels: 0 })).rejects.toBeInstanceOf(ConfigError);
    await expect(readImage('any.png', { maxPixels: Number.NaN })).rejects.toBeInstanceOf(ConfigError);
  });

  test('sharp not installed', async () => {
    vi.doMock('sharp', () => {
      throw new Error('Cannot find package');
    });
    await failsWith('any.png', 'sharp-missing');
    vi.doUnmock('sharp');
  });
});

test('an abort rejects with its reason', async () => {
  const bytes = await encodePng(synthetic(300, 300));
  await expect(readImage(bytes, { signal: AbortSignal.abort('stop') })).rejects.toBe('stop');
  const controller = new AbortController();
  const reading = readImage(bytes, { signal: controller.signal });
  controller.abort('later');
  await expect(reading).rejects.toBe('later');
});
