import { ShapeError, type Image } from '@pvt/core';
import { editPixels, type CanvasContext } from './canvas.ts';

/**
 * Draws decoded pixels onto a canvas of their size.
 *
 * @throws ShapeError if image and canvas differ in size
 * @example
 * const canvas = createCanvas(image.width, image.height);
 * drawImage(canvas.getContext('2d'), image);
 */
export function drawImage(context: CanvasContext, { width, height, data }: Image): void {
  const { canvas } = context;
  if (canvas.width !== width || canvas.height !== height) {
    throw new ShapeError(
      'canvas-misfit',
      `drawImage: expected a canvas of ${width}x${height} pixels, as the image has, ` +
        `got ${canvas.width}x${canvas.height}; resize one of them.`,
    );
  }
  editPixels(context, (pixels) => {
    for (let i = 0, source = 0; i < pixels.data.length; i += 4) {
      for (let c = 0; c < 3; c++) pixels.data[i + c] = data[source++]!;
      pixels.data[i + 3] = 255;
    }
  });
}
