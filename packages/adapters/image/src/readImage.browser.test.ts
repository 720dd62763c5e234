import { ConfigError, type Image } from '@pvt/core';
import { describe, expect, test, vi } from 'vitest';
import { ImageError, type ImageSource } from './image.ts';
import { readImage } from './readImage.ts';

/** Two by two: red, green; blue, a gray. */
const opaque = new Uint8ClampedArray([255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 10, 20, 30, 255]);
const image: Image = {
  width: 2,
  height: 2,
  data: Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30),
};

function canvasOf(rgba: Uint8ClampedArray<ArrayBuffer>, width: number): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  const image = new ImageData(rgba, width);
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext('2d')!.putImageData(image, 0, 0);
  return canvas;
}

async function offscreenOf(rgba: Uint8ClampedArray<ArrayBuffer>, width: number): Promise<OffscreenCanvas> {
  const image = new ImageData(rgba, width);
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext('2d')!.putImageData(image, 0, 0);
  return canvas;
}

const blobOf = async (rgba: Uint8ClampedArray<ArrayBuffer>, width: number, type = 'image/png') =>
  (await offscreenOf(rgba, width)).convertToBlob({ type, quality: 1 });

async function elementOf(blob: Blob): Promise<HTMLImageElement> {
  const image = document.createElement('img');
  image.src = URL.createObjectURL(blob);
  return image;
}

describe('every source gives the same pixels', () => {
  test.each<[string, () => Promise<ImageSource>]>([
    ['bytes', async () => new Uint8Array(await (await blobOf(opaque, 2)).arrayBuffer())],
    ['URL as text', async () => URL.createObjectURL(await blobOf(opaque, 2))],
    ['URL', async () => new URL(URL.createObjectURL(await blobOf(opaque, 2)))],
    ['HTMLCanvasElement', async () => canvasOf(opaque, 2)],
    ['OffscreenCanvas', () => offscreenOf(opaque, 2)],
    ['ImageData', async () => new ImageData(opaque, 2)],
    ['ImageBitmap', () => createImageBitmap(new ImageData(opaque, 2))],
    ['Blob', () => blobOf(opaque, 2)],
    ['File', async () => new File([await blobOf(opaque, 2)], 'image.png')],
    ['HTMLImageElement, still loading', async () => elementOf(await blobOf(opaque, 2))],
    ['VideoFrame', async () => new VideoFrame(canvasOf(opaque, 2), { timestamp: 0 })],
  ])('%s', async (_kind, source) => {
    expect(await readImage(await source())).toEqual(image);
  });

  test('HTMLVideoElement', async () => {
    const canvas = canvasOf(new Uint8ClampedArray(64 * 64 * 4).fill(255), 64);
    const video = document.createElement('video');
    video.muted = true;
    video.srcObject = canvas.captureStream();
    await video.play();
    const { width, height, data } = await readImage(video);
    expect([width, height]).toEqual([64, 64]);
    expect(Math.min(...data)).toBeGreaterThanOrEqual(250); // video colors are not exact
  });
});

test.each([
  [3, 4100],
  [4100, 3],
  [2049, 2050],
])('%i x %i, more than is read back at a time, comes whole', async (width, height) => {
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < rgba.length; i += 4) {
    rgba[i] = (i / 4) % 251;
    rgba[i + 1] = Math.floor(i / 1004) % 253;
    rgba[i + 2] = 7;
    rgba[i + 3] = 255;
  }
  const drawn = await readImage(canvasOf(rgba, width));
  expect([drawn.width, drawn.height]).toEqual([width, height]);
  let wrong = 0;
  for (let i = 0; i < width * height; i++) {
    if (
      drawn.data[i * 3] !== rgba[i * 4] ||
      drawn.data[i * 3 + 1] !== rgba[i * 4 + 1] ||
      drawn.data[i * 3 + 2] !== 7
    )
      wrong++;
  }
  expect(wrong).toBe(0);
});

test('an image wider than any canvas', async () => {
  // 70000x2 white pixels but for a black end, as PNG rows of one bit: browsers leave a canvas of that width
  // blank.
  const row = new Uint8Array(1 + 70_000 / 8).fill(255);
  row[0] = 0; // no PNG filter
  row[row.length - 1] = 0xfe;
  const { width, height, data } = await readImage(await pngOfBits(70_000, [row, row]));
  expect([width, height]).toEqual([70_000, 2]);
  expect(Array.from(data.keys()).filter((i) => data[i] === 0)).toEqual([
    209_997, 209_998, 209_999, 419_997, 419_998, 419_999,
  ]);
});

test('the source stays usable', async () => {
  const bitmap = await createImageBitmap(new ImageData(opaque, 2));
  await readImage(bitmap);
  expect(await readImage(bitmap)).toEqual(image);
});

describe('transparency is composited over white', () => {
  const rgba = new Uint8ClampedArray([255, 0, 0, 255, 255, 0, 0, 128, 10, 20, 30, 0, 0, 0, 0, 51]);
  const expected = [255, 0, 0, 255, 127, 127, 255, 255, 255, 204, 204, 204];

  test.each<[string, () => Promise<ImageBitmapSource>]>([
    ['ImageData', async () => new ImageData(rgba, 2)],
    ['canvas', async () => canvasOf(rgba, 2)],
    ['bitmap', () => createImageBitmap(new ImageData(rgba, 2))],
    ['blob', () => blobOf(rgba, 2)],
  ])('%s', async (_kind, source) => {
    expect(Array.from((await readImage(await source())).data)).toEqual(expected);
  });

  test('for any color and alpha, a canvas is within one of the ImageData put on it', async () => {
    const every = new Uint8ClampedArray(256 * 256 * 4);
    for (let i = 0; i < 256 * 256; i++) every.set([i % 256, 255 - (i % 256), (i * 7) % 256, i >> 8], i * 4);
    const exact = await readImage(new ImageData(every, 256));
    const drawn = await readImage(canvasOf(every, 256));
    const largest = drawn.data.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - exact.data[i]!)),
      0,
    );
    expect(largest).toBeLessThanOrEqual(1);
  });
});

test('Display P3 becomes sRGB', async () => {
  // CSS Color 4: the red of sRGB is (0.9175, 0.2003, 0.1386) in Display P3.
  const image = new ImageData(new Uint8ClampedArray([234, 51, 35, 255]), 1, 1, { colorSpace: 'display-p3' });
  const { data } = await readImage(image);
  expect(data[0]).toBeGreaterThanOrEqual(254);
  expect(Math.max(data[1]!, data[2]!)).toBeLessThanOrEqual(2);
});

/** A PNG of one bit per pixel from its rows, each with its filter byte. */
async function pngOfBits(width: number, rows: readonly Uint8Array<ArrayBuffer>[]): Promise<Blob> {
  const deflated = new Blob([...rows]).stream().pipeThrough(new CompressionStream('deflate'));
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, rows.length);
  header.setUint8(8, 1);
  const chunks: [string, Uint8Array][] = [
    ['IHDR', new Uint8Array(header.buffer)],
    ['IDAT', new Uint8Array(await new Response(deflated).arrayBuffer())],
    ['IEND', new Uint8Array()],
  ];
  const parts = chunks.map(([type, body]) => {
    const chunk = new Uint8Array(12 + body.length);
    const view = new DataView(chunk.buffer);
    view.setUint32(0, body.length);
    chunk.set(
      [...type].map((letter) => letter.charCodeAt(0)),
      4,
    );
    chunk.set(body, 8);
    let crc = -1;
    for (const byte of chunk.subarray(4, 8 + body.length)) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    view.setUint32(8 + body.length, ~crc);
    return chunk;
  });
  return new Blob([Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), ...parts], { type: 'image/png' });
}

/** A JPEG with an EXIF segment that says nothing but the orientation. */
async function oriented(jpeg: Blob, orientation: number): Promise<Blob> {
  const exif = [0xff, 0xe1, 0, 34, 0x45, 0x78, 0x69, 0x66, 0, 0, 0x49, 0x49, 42, 0, 8, 0, 0, 0, 1, 0];
  const entry = [0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0];
  return new Blob([jpeg.slice(0, 2), Uint8Array.from([...exif, ...entry]), jpeg.slice(2)], {
    type: 'image/jpeg',
  });
}

/**
 * How EXIF 2.3 (tag 0x0112) wants the stored rows abc, def to be shown; each letter is a block of 16x16
 * pixels.
 */
describe.each([
  [1, ['abc', 'def']],
  [2, ['cba', 'fed']],
  [3, ['fed', 'cba']],
  [4, ['def', 'abc']],
  [5, ['ad', 'be', 'cf']],
  [6, ['da', 'eb', 'fc']],
  [7, ['fc', 'eb', 'da']],
  [8, ['cf', 'be', 'ad']],
])('EXIF orientation %i', (orientation, shown) => {
  const stored = new Uint8ClampedArray(48 * 32 * 4).fill(255);
  for (let i = 0; i < 48 * 32; i++) {
    const letter = Math.floor(i / 48 / 16) * 3 + Math.floor((i % 48) / 16);
    stored.fill(20 + letter * 40, i * 4, i * 4 + 3);
  }

  test.each(['Blob', 'HTMLImageElement'])('%s', async (kind) => {
    const blob = await oriented(await blobOf(stored, 48, 'image/jpeg'), orientation);
    const { width, height, data } = await readImage(kind === 'Blob' ? blob : await elementOf(blob));
    const letterAt = (x: number, y: number) => 'abcdef'[Math.round((data[(y * width + x) * 3]! - 20) / 40)];
    const rows = Array.from({ length: height / 16 }, (_, row) =>
      Array.from({ length: width / 16 }, (_, column) => letterAt(column * 16 + 8, row * 16 + 8)).join(''),
    );
    expect(rows).toEqual(shown);
  });
});

describe('errors', () => {
  test.each<[string, () => unknown]>([
    ['a text', () => new Blob(['This is no image.'], { type: 'image/png' })],
    ['an empty blob', () => new Blob([])],
    ['a broken image', () => elementOf(new Blob(['nothing']))],
    ['a video without data', () => document.createElement('video')],
    ['an empty canvas', () => new OffscreenCanvas(0, 5)],
    ['an element that shows nothing', () => document.createElement('p')],
    ['nothing', () => undefined],
  ])('%s', async (_what, source) => {
    const error: unknown = await readImage((await source()) as ImageBitmapSource).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(ImageError);
    expect(error).toMatchObject({
      code: 'image-unreadable',
      message: expect.stringMatching(/^readImage: expected .+, got .+; .+\.$/),
    });
  });

  test('a URL without an image', async () => {
    await expect(readImage('/no-such-image.png')).rejects.toBeInstanceOf(ImageError);
    await expect(readImage('http://127.0.0.1:1/image.png')).rejects.toMatchObject({
      code: 'image-unreadable',
    });
  });

  test('an abort rejects with its reason', async () => {
    const url = URL.createObjectURL(await blobOf(opaque, 2));
    await expect(readImage(url, { signal: AbortSignal.abort('stop') })).rejects.toBe('stop');
    const controller = new AbortController();
    const reading = readImage(url, { signal: controller.signal });
    controller.abort('later');
    await expect(reading).rejects.toBe('later');
  });

  test('pixels of another origin', async () => {
    const read = vi
      .spyOn(OffscreenCanvasRenderingContext2D.prototype, 'getImageData')
      .mockImplementation(() => {
        throw new DOMException('tainted', 'SecurityError');
      });
    const canvas = canvasOf(opaque, 2);
    await expect(readImage(canvas)).rejects.toMatchObject({ code: 'image-tainted' });
    read.mockRestore();
    expect(await readImage(canvas)).toEqual(image);
  });

  test('more pixels than allowed', async () => {
    for (const source of [new ImageData(opaque, 2), canvasOf(opaque, 2), await blobOf(opaque, 2)]) {
      await expect(readImage(source, { maxPixels: 3 })).rejects.toMatchObject({
        code: 'image-too-large',
      });
      expect(await readImage(source, { maxPixels: 4 })).toEqual(image);
    }
  });

  test('an invalid limit', async () => {
    await expect(readImage(canvasOf(opaque, 2), { maxPixels: -1 })).rejects.toBeInstanceOf(ConfigError);
  });
});
