import { createRequire } from 'node:module';
import { createCanvas, GlobalFonts, type Canvas } from '@napi-rs/canvas';
import type { Rgb } from './colors.ts';

/** A machine may have no fonts: Inter replaces the system's font, which `@pvt/draw` asks for. */
export const fontFamily = 'system-ui';

const resolve = createRequire(import.meta.url).resolve;
for (const weight of [400, 600])
  GlobalFonts.registerFromPath(
    resolve(`@fontsource/inter/files/inter-latin-${weight}-normal.woff2`),
    fontFamily,
  );

/** A canvas with a pixel for each color, row by row. */
export function pixels(colors: readonly Rgb[], height: number, width: number): Canvas {
  const canvas = createCanvas(width, height);
  const context = canvas.getContext('2d');
  const image = context.createImageData(width, height);
  for (const [index, color] of colors.entries()) image.data.set([...color.map(Math.round), 255], 4 * index);
  context.putImageData(image, 0, 0);
  return canvas;
}

export { createCanvas, type Canvas };
