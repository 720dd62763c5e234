import type { Image, Size } from '@pvt/core';

/** The two source pixels of every target position along an axis, and the weight of the second. */
function neighbors(from: number, to: number) {
  return Array.from({ length: to }, (_, i) => {
    const position = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
    const first = Math.floor(position);
    return { first, second: Math.min(first + 1, from - 1), weight: position - first };
  });
}

/**
 * Bilinear interpolation without antialiasing between half-pixel centers, as in OpenCV and PyTorch.
 *
 * @returns [height, width, 3] values from 0 to 255, row-major, not rounded
 */
export function interpolateBilinear({ width, height, data }: Image, [toHeight, toWidth]: Size): Float32Array {
  const values = new Float32Array(toHeight * toWidth * 3);
  const columns = neighbors(width, toWidth);
  let at = 0;
  for (const row of neighbors(height, toHeight)) {
    const [upper, lower] = [row.first * width, row.second * width];
    for (const column of columns) {
      for (let c = 0; c < 3; c++) {
        const pixel = (rowStart: number, x: number) => data[(rowStart + x) * 3 + c]!;
        const above =
          pixel(upper, column.first) +
          column.weight * (pixel(upper, column.second) - pixel(upper, column.first));
        const below =
          pixel(lower, column.first) +
          column.weight * (pixel(lower, column.second) - pixel(lower, column.first));
        values[at++] = above + row.weight * (below - above);
      }
    }
  }
  return values;
}

/** {@link interpolateBilinear}, rounded to 8 bits as OpenCV keeps images. */
export function resizeRounded(image: Image, size: Size): Image {
  const [height, width] = size;
  if (height === image.height && width === image.width) return image;
  return { width, height, data: Uint8Array.from(interpolateBilinear(image, size), Math.round) };
}
