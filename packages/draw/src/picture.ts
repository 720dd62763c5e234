import { ShapeError, type Picture } from '@pvt/core';
import { editPixels, type CanvasContext } from './canvas.ts';

/**
 * Decoded pixels onto a canvas of their size.
 *
 * @throws ShapeError where picture and canvas differ in size
 * @example
 * const canvas = createCanvas(picture.width, picture.height);
 * drawPicture(canvas.getContext('2d'), picture);
 */
export function drawPicture(context: CanvasContext, { width, height, data }: Picture): void {
  const { canvas } = context;
  if (canvas.width !== width || canvas.height !== height) {
    throw new ShapeError(
      'canvas-misfit',
      `drawPicture: expected a canvas of ${width}x${height} pixels, as the picture has, got ${canvas.width}x${canvas.height}; resize one of them.`,
    );
  }
  editPixels(context, (pixels) => {
    for (let i = 0, from = 0; i < pixels.data.length; i += 4) {
      for (let c = 0; c < 3; c++) pixels.data[i + c] = data[from++]!;
      pixels.data[i + 3] = 255;
    }
  });
}
