import type { CanvasContext } from '@pvt/draw';

/**
 * Draws on a transparent canvas that is laid over an image.
 *
 * `tint` is for drawings that blend with the pixels below. On a transparent canvas those are black, so
 * dividing by the opacity restores the colour that was blended in.
 */
export function drawOverlay(
  width: number,
  height: number,
  draw: (context: CanvasContext) => void,
  { tint = false } = {},
): ImageBitmap {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  draw(context);
  if (tint) {
    const pixels = context.getImageData(0, 0, width, height);
    divideByOpacity(pixels.data);
    context.putImageData(pixels, 0, 0);
  }
  return canvas.transferToImageBitmap();
}

function divideByOpacity(data: Uint8ClampedArray): void {
  for (let pixel = 0; pixel < data.length; pixel += 4) {
    const opacity = data[pixel + 3]! / 255;
    if (opacity === 0 || opacity === 1) continue;
    for (let c = pixel; c < pixel + 3; c++) data[c] = data[c]! / opacity;
  }
}
