import type { Image } from '@pvt/core';

/** Factors, of which 1 changes nothing, and a rotation of the hue. */
export interface ColorAdjustment {
  readonly brightness: number;
  readonly contrast: number;
  readonly saturation: number;
  /** Share of the color circle in [-0.5, 0.5]; 0 changes nothing. */
  readonly hue: number;
}

type Row = readonly [number, number, number];
type Matrix = readonly [Row, Row, Row];

/** Weights of red, green and blue in perceived brightness (ITU-R BT.601). */
const luma = [0.299, 0.587, 0.114] as const;

const multiply = (a: Matrix, b: Matrix): Matrix => {
  const entry = (row: Row, j: 0 | 1 | 2): number => row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j];
  const row = (of: Row): Row => [entry(of, 0), entry(of, 1), entry(of, 2)];
  return [row(a[0]), row(a[1]), row(a[2])];
};

/** The mean of an image's pixels. */
function meanOf({ data }: Image): Row {
  const sums: [number, number, number] = [0, 0, 0];
  for (let i = 0; i < data.length; i += 3) {
    sums[0] += data[i]!;
    sums[1] += data[i + 1]!;
    sums[2] += data[i + 2]!;
  }
  const mean = (sum: number): number => (sum * 3) / data.length;
  return [mean(sums[0]), mean(sums[1]), mean(sums[2])];
}

/** YIQ (NTSC): brightness, and two color axes in whose plane a hue is an angle. */
const toYiq: Matrix = [luma, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]];
const fromYiq: Matrix = [
  [1, 0.956, 0.619],
  [1, -0.272, -0.647],
  [1, -1.106, 1.703],
];

function hueRotation(share: number): Matrix {
  const [cos, sin] = [Math.cos(2 * Math.PI * share), Math.sin(2 * Math.PI * share)];
  const rotation: Matrix = [
    [1, 0, 0],
    [0, cos, sin],
    [0, -sin, cos],
  ];
  return multiply(fromYiq, multiply(rotation, toYiq));
}

/** Moves every color away from, or towards, its own gray. */
function saturationMatrix(saturation: number): Matrix {
  const row = (i: 0 | 1 | 2): Row => {
    const entry = (j: 0 | 1 | 2): number => luma[j] * (1 - saturation) + (i === j ? saturation : 0);
    return [entry(0), entry(1), entry(2)];
  };
  return [row(0), row(1), row(2)];
}

/**
 * Adjusts hue, saturation, brightness and contrast. All four are affine in a pixel's color (the hue as a
 * rotation in YIQ), so they are applied as one matrix, and each value is rounded and clipped once. Contrast
 * is relative to the image's mean gray.
 *
 * @example
 * const pale = adjustColor(image, { brightness: 1.1, contrast: 0.8, saturation: 0.5, hue: 0 });
 */
export function adjustColor(image: Image, { brightness, contrast, saturation, hue }: ColorAdjustment): Image {
  const saturate = saturationMatrix(saturation);
  const mixed = hue === 0 ? saturate : multiply(saturate, hueRotation(hue));
  const scaled = (row: Row): Row => {
    const scale = (weight: number): number => weight * brightness * contrast;
    return [scale(row[0]), scale(row[1]), scale(row[2])];
  };
  const [rr, rg, rb] = scaled(mixed[0]);
  const [gr, gg, gb] = scaled(mixed[1]);
  const [br, bg, bb] = scaled(mixed[2]);
  const mean = meanOf(image);
  const gray = brightness * (luma[0] * mean[0] + luma[1] * mean[1] + luma[2] * mean[2]);
  const offset = gray * (1 - contrast);
  const { data } = image;
  // A clamped array rounds and clips.
  const adjusted = new Uint8ClampedArray(data.length);
  for (let i = 0; i < data.length; i += 3) {
    const [r, g, b] = [data[i]!, data[i + 1]!, data[i + 2]!];
    adjusted[i] = rr * r + rg * g + rb * b + offset;
    adjusted[i + 1] = gr * r + gg * g + gb * b + offset;
    adjusted[i + 2] = br * r + bg * g + bb * b + offset;
  }
  return { ...image, data: new Uint8Array(adjusted.buffer) };
}
