import { createRequire } from 'node:module';
import { createCanvas, GlobalFonts, type Canvas } from '@napi-rs/canvas';
import type { Rgb } from './colours.ts';

/** A bare machine has no fonts, so this one comes along, and stands in for the system's, which `@pvt/draw` asks for. */
export const fontFamily = 'system-ui';

const resolve = createRequire(import.meta.url).resolve;
for (const weight of [400, 600])
  GlobalFonts.registerFromPath(
    resolve(`@fontsource/inter/files/inter-latin-${weight}-normal.woff2`),
    fontFamily,
  );

/** A canvas with a pixel for each colour, row by row. */
export function pixels(colours: readonly Rgb[], height: number, width: number): Canvas {
  const canvas = createCanvas(width, height);
  const context = canvas.getContext('2d');
  const image = context.createImageData(width, height);
  for (const [index, colour] of colours.entries())
    image.data.set([...colour.map(Math.round), 255], 4 * index);
  context.putImageData(image, 0, 0);
  return canvas;
}

export { createCanvas, type Canvas };
