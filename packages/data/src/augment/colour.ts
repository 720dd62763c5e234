import type { Image } from '@pvt/core';

/** Changes of colour: factors around 1, and a turn of the hue in [-0.5, 0.5]; 1, 1, 1 and 0 change nothing. */
export interface ColourChange {
  readonly brightness: number;
  readonly contrast: number;
  readonly saturation: number;
  /** Turns of the colour circle. */
  readonly hue: number;
}

type Matrix = readonly (readonly [number, number, number])[];

/** Shares of red, green and blue in the brightness that people see (ITU-R BT.601). */
const luma = [0.299, 0.587, 0.114] as const;

const times = (a: Matrix, b: Matrix): Matrix =>
  a.map(
    (row) =>
      [0, 1, 2].map((j) => row[0] * b[0]![j]! + row[1] * b[1]![j]! + row[2] * b[2]![j]!) as unknown as [
        number,
        number,
        number,
      ],
  );

/** The mean of an image's pixels. */
function meanOf({ data }: Image): readonly number[] {
  const sums = [0, 0, 0];
  for (let i = 0; i < data.length; i += 3) {
    sums[0]! += data[i]!;
    sums[1]! += data[i + 1]!;
    sums[2]! += data[i + 2]!;
  }
  return sums.map((sum) => (sum * 3) / data.length);
}

/** YIQ (NTSC): brightness, and two axes of colour in which a hue is an angle. */
const toYiq: Matrix = [luma, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]];
const fromYiq: Matrix = [
  [1, 0.956, 0.619],
  [1, -0.272, -0.647],
  [1, -1.106, 1.703],
];

function hueTurn(turns: number): Matrix {
  const [cos, sin] = [Math.cos(2 * Math.PI * turns), Math.sin(2 * Math.PI * turns)];
  return times(
    fromYiq,
    times(
      [
        [1, 0, 0],
        [0, cos, sin],
        [0, -sin, cos],
      ],
      toYiq,
    ),
  );
}

/**
 * Hue, saturation, brightness and contrast of an image changed. All four are affine in a pixel's colour (the hue as a turn in
 * YIQ), so they are one matrix and each value is rounded and clipped once; contrast goes about the image's mean grey.
 *
 * @example
 * const pale = changeColour(image, { brightness: 1.1, contrast: 0.8, saturation: 0.5, hue: 0 });
 */
export function changeColour(image: Image, { brightness, contrast, saturation, hue }: ColourChange): Image {
  const saturate: Matrix = [0, 1, 2].map(
    (i) =>
      [0, 1, 2].map((j) => luma[j]! * (1 - saturation) + (i === j ? saturation : 0)) as unknown as [
        number,
        number,
        number,
      ],
  );
  const mixed = hue === 0 ? saturate : times(saturate, hueTurn(hue));
  const [red, green, blue] = mixed.map((row) => row.map((weight) => weight * brightness * contrast)) as [
    number[],
    number[],
    number[],
  ];
  const mean = meanOf(image);
  const grey = brightness * (luma[0] * mean[0]! + luma[1] * mean[1]! + luma[2] * mean[2]!);
  // A clamped array rounds and clips.
  const changed = new Uint8ClampedArray(image.data.length);
  const offset = grey * (1 - contrast);
  const { data } = image;
  const [rr, rg, rb, gr, gg, gb, br, bg, bb] = [...red, ...green, ...blue] as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  for (let i = 0; i < data.length; i += 3) {
    const [r, g, b] = [data[i]!, data[i + 1]!, data[i + 2]!];
    changed[i] = rr * r + rg * g + rb * b + offset;
    changed[i + 1] = gr * r + gg * g + gb * b + offset;
    changed[i + 2] = br * r + bg * g + bb * b + offset;
  }
  return { ...image, data: new Uint8Array(changed.buffer) };
}
