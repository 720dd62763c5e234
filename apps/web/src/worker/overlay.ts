import type { CanvasContext } from '@pvt/draw';

/**
 * Draws on a clear canvas that will lie over an image. `tint` is for what mixes its colours with the pixels below: on a clear
 * canvas those are black, and dividing by the opacity gives the colour that was meant.
 */
export function drawOverlay(
  width: number,
  height: number,
  work: (context: CanvasContext) => void,
  { tint = false } = {},
): ImageBitmap {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  work(context as unknown as CanvasContext);
  if (tint) {
    const pixels = context.getImageData(0, 0, width, height);
    const { data } = pixels;
    for (let at = 0; at < data.length; at += 4) {
      const opacity = data[at + 3]! / 255;
      if (opacity > 0 && opacity < 1) for (let c = 0; c < 3; c++) data[at + c] = data[at + c]! / opacity;
    }
    context.putImageData(pixels, 0, 0);
  }
  return canvas.transferToImageBitmap();
}
