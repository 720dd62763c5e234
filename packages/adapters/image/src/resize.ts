import { ConfigError, resamplings, ShapeError, type Image, type Resampling } from '@pvt/core';
import { checkImage, defaultMaxPixels } from './image.ts';

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

interface Filter {
  /** Distance, in target pixels, beyond which the weight is 0. */
  readonly support: number;
  readonly weight: (distance: number) => number;
}

const filters: Record<Exclude<Resampling, 'nearest'>, Filter> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  // Pillow writes the two constants in single precision.
  hamming: {
    support: 1,
    weight: (x) =>
      Math.abs(x) < 1 ? sinc(x) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(Math.PI * x)) : 0,
  },
  bicubic: {
    support: 2,
    weight(x) {
      const d = Math.abs(x);
      if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * -0.5 : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** Fractional bits of a weight: 32, less 8 for the pixel and 2 for sums that overshoot. */
const fraction = 22;

/**
 * Which source pixels make each target pixel: from `starts[i]` on, `counts[i]` of them, weighed by `weights[i
 * * length]` on.
 */
interface Windows {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  readonly weights: Int32Array;
  readonly length: number;
}

function windows(from: number, to: number, { support, weight }: Filter): Windows {
  const scale = from / to;
  const stretch = Math.max(1, scale); // shrinking widens the filter, which is the antialiasing
  const radius = support * stretch;
  const length = Math.ceil(radius) * 2 + 1;
  const starts = new Int32Array(to);
  const counts = new Int32Array(to);
  const weights = new Int32Array(to * length);
  const window = new Float64Array(length);
  for (let i = 0; i < to; i++) {
    const center = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - radius + 0.5));
    const count = Math.min(from, Math.trunc(center + radius + 0.5)) - start;
    let sum = 0;
    for (let k = 0; k < count; k++) sum += window[k] = weight((k + start - center + 0.5) * (1 / stretch));
    for (let k = 0; k < count; k++) {
      const share = (sum === 0 ? window[k]! : window[k]! / sum) * 2 ** fraction;
      weights[i * length + k] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    }
    starts[i] = start;
    counts[i] = count;
  }
  return { starts, counts, weights, length };
}

/**
 * Resamples the middle axis of [outer, from, inner] bytes: [height, width, 3] along a row, [1, height, width
 * * 3] down a column. Both inner sizes are whole pixels, so red, green and blue move together.
 */
function resampleAxis(
  source: Uint8Array,
  outer: number,
  from: number,
  inner: number,
  to: number,
  filter: Filter,
): Uint8Array {
  const { starts, counts, weights, length } = windows(from, to, filter);
  const target = new Uint8ClampedArray(outer * to * inner);
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < to; i++) {
      const base = (o * from + starts[i]!) * inner;
      const first = i * length;
      const last = first + counts[i]!;
      for (let j = 0; j < inner; j += 3) {
        let red = 1 << (fraction - 1);
        let green = red;
        let blue = red;
        for (let k = first, pixel = base + j; k < last; k++, pixel += inner) {
          const weight = weights[k]!;
          red = (red + Math.imul(source[pixel]!, weight)) | 0;
          green = (green + Math.imul(source[pixel + 1]!, weight)) | 0;
          blue = (blue + Math.imul(source[pixel + 2]!, weight)) | 0;
        }
        target[at] = red >> fraction;
        target[at + 1] = green >> fraction;
        target[at + 2] = blue >> fraction;
        at += 3;
      }
    }
  }
  return new Uint8Array(target.buffer);
}

/**
 * Sources of a nearest resize: Pillow adds the step up instead of multiplying, and rounding errors with it.
 */
function nearestSources(from: number, to: number): Int32Array {
  const step = from / to;
  let position = step * 0.5;
  return Int32Array.from({ length: to }, () => {
    const source = Math.trunc(position);
    position += step;
    return source;
  });
}

function nearest({ width, height, data }: Image, toHeight: number, toWidth: number): Uint8Array {
  const rows = nearestSources(height, toHeight);
  const columns = nearestSources(width, toWidth);
  const target = new Uint8Array(toHeight * toWidth * 3);
  let at = 0;
  for (const row of rows) {
    for (let x = 0; x < toWidth; x++) {
      const from = (row * width + columns[x]!) * 3;
      target[at++] = data[from]!;
      target[at++] = data[from + 1]!;
      target[at++] = data[from + 2]!;
    }
  }
  return target;
}

/**
 * Resizes to [height, width] pixels exactly as Pillow's `Image.resize` does for 8-bit RGB: rows first, then
 * columns, antialiased, weights in fixed point, 8 bits in between (Pillow, libImaging/Resample.c). An image
 * of that size is returned unchanged.
 *
 * @throws ConfigError for a size that is not two positive integers, or an unknown filter
 * @throws ShapeError for an image whose data does not match its size, or a result (or intermediate result)
 * beyond 100 megapixels
 * @example
 * const small = resize(image, [224, 224], 'bicubic');
 */
export function resize(
  image: Image,
  size: readonly [height: number, width: number],
  resampling: Resampling,
): Image {
  checkImage('resize', image);
  const [height, width] = checkSize('resize', 'size', size);
  if (!resamplings.includes(resampling)) {
    throw new ConfigError(
      'preprocessing-invalid',
      `resize: expected the resampling to be one of ${resamplings.join(', ')}, got ${resampling}; ` +
        'name one of these.',
    );
  }
  if (height === image.height && width === image.width) return image;
  if (width * Math.max(height, image.height) > defaultMaxPixels) {
    throw new ShapeError(
      'resize-too-large',
      `resize: expected at most ${defaultMaxPixels} pixels in between, ` +
        `got ${image.height}x${image.width} to ${height}x${width}; ` +
        'choose a smaller size, or crop so extreme an image first.',
    );
  }
  if (resampling === 'nearest') return { width, height, data: nearest(image, height, width) };
  const filter = filters[resampling];
  let { data } = image;
  if (width !== image.width) data = resampleAxis(data, image.height, image.width, 3, width, filter);
  if (height !== image.height) data = resampleAxis(data, 1, image.height, width * 3, height, filter);
  return { width, height, data };
}

/**
 * The [height, width] that brings an image's shorter side to `shortSide` pixels and keeps its aspect ratio;
 * the longer side is cut to an integer, as torchvision's `Resize` and Hugging Face's `shortest_edge` do.
 *
 * @throws ConfigError where `shortSide` is not a positive integer
 * @example
 * shortSideSize({ width: 333, height: 257 }, 248); // [248, 321]
 */
export function shortSideSize(
  { width, height }: Pick<Image, 'width' | 'height'>,
  shortSide: number,
): [height: number, width: number] {
  checkSize('shortSideSize', 'shortSide', [shortSide, shortSide]);
  const longSide = Math.trunc((shortSide * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? [longSide, shortSide] : [shortSide, longSide];
}

export function checkSize(
  who: string,
  field: string,
  size: readonly [height: number, width: number],
): readonly [height: number, width: number] {
  if (
    !Array.isArray(size) ||
    size.length !== 2 ||
    !size.every((side) => Number.isSafeInteger(side) && side > 0)
  ) {
    throw new ConfigError(
      'preprocessing-invalid',
      `${who}: expected ${field} in positive whole pixels, got ${JSON.stringify(size)}; ` +
        'write a square as [224, 224].',
    );
  }
  return size;
}
