import { createRandom } from '@pvt/core';

/** Red, green and blue from 0 to 255. */
export type Rgb = readonly [red: number, green: number, blue: number];

const hex = (code: number): Rgb => [code >> 16, (code >> 8) & 255, code & 255];

/** Matplotlib's perceptually uniform color maps (CC0), at ten evenly spaced points. */
export const colorMaps = {
  viridis: [
    0x440154, 0x482878, 0x3e4989, 0x31688e, 0x26828e, 0x1f9e89, 0x35b779, 0x6ece58, 0xb5de2b, 0xfde725,
  ].map(hex),
  inferno: [
    0x000004, 0x1b0c41, 0x4a0c6b, 0x781c6d, 0xa52c60, 0xcf4446, 0xed6925, 0xfb9b06, 0xf7d13d, 0xfcffa4,
  ].map(hex),
} as const;

/** The color of a map at a share from 0 to 1. */
export function colorAt(map: readonly Rgb[], share: number): Rgb {
  const at = Math.min(Math.max(share, 0), 1) * (map.length - 1);
  const below = Math.min(Math.floor(at), map.length - 2);
  const [from, to] = [map[below]!, map[below + 1]!];
  const channel = (i: 0 | 1 | 2) => from[i] + (at - below) * (to[i] - from[i]);
  return [channel(0), channel(1), channel(2)];
}

/** Values stretched to the range from 0 to 1, or all 0.5 if they are equal. */
export function stretch(values: ArrayLike<number>): number[] {
  const list = Array.from(values);
  const least = list.reduce((a, b) => Math.min(a, b), Infinity);
  const most = list.reduce((a, b) => Math.max(a, b), -Infinity);
  return list.map((value) => (most > least ? (value - least) / (most - least) : 0.5));
}

/**
 * The first principal components of channel vectors, by orthogonal iteration on their covariance.
 *
 * @param values [positions, channels]
 * @returns for each component the projection of every position, strongest component first; zeros once there
 * is no variance left
 */
export function principalComponents(
  values: Float32Array,
  channels: number,
  components: number,
): Float64Array[] {
  const positions = values.length / channels;
  const centred = Float64Array.from(values);
  for (let channel = 0; channel < channels; channel++) {
    let sum = 0;
    for (let i = channel; i < centred.length; i += channels) sum += centred[i]!;
    for (let i = channel; i < centred.length; i += channels) centred[i]! -= sum / positions;
  }
  const covariance = new Float64Array(channels * channels);
  for (let start = 0; start < centred.length; start += channels) {
    for (let a = 0; a < channels; a++) {
      const value = centred[start + a]!;
      for (let b = a; b < channels; b++) covariance[a * channels + b]! += value * centred[start + b]!;
    }
  }
  for (let a = 0; a < channels; a++)
    for (let b = 0; b < a; b++) covariance[a * channels + b] = covariance[b * channels + a]!;

  const random = createRandom('principal components');
  const count = Math.min(components, channels);
  const axes = Array.from({ length: count }, () =>
    Float64Array.from({ length: channels }, () => random.normal()),
  );
  for (let iteration = 0; iteration < 100; iteration++) {
    for (const [index, axis] of axes.entries()) {
      if (iteration > 0) axis.set(product(covariance, axis));
      for (const earlier of axes.slice(0, index)) subtract(axis, earlier, dot(axis, earlier));
      const length = Math.sqrt(dot(axis, axis));
      if (length > 0) for (let i = 0; i < channels; i++) axis[i]! /= length;
    }
  }
  return Array.from({ length: components }, (_, index) => {
    const axis = axes[index];
    const projection = new Float64Array(positions);
    if (axis)
      for (let position = 0; position < positions; position++)
        projection[position] = dot(axis, centred.subarray(position * channels, (position + 1) * channels));
    return projection;
  });
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function subtract(from: Float64Array, what: Float64Array, times: number): void {
  for (let i = 0; i < from.length; i++) from[i]! -= times * what[i]!;
}

const product = (square: Float64Array, vector: Float64Array): Float64Array =>
  Float64Array.from(vector, (_, row) =>
    dot(square.subarray(row * vector.length, (row + 1) * vector.length), vector),
  );

/**
 * Three components as colors in OKLab (Ottosson 2020), where equal distances look equal: the first becomes
 * lightness, the others the two axes of hue.
 */
export function colorOf(components: readonly Float64Array[]): Rgb[] {
  const scaled = components.map((component) => {
    const spread = Math.sqrt(dot(component, component) / component.length);
    return spread > 0 ? component.map((value) => Math.tanh(value / (1.6 * spread))) : component;
  });
  const [first, second, third] = scaled as [Float64Array, Float64Array, Float64Array];
  return Array.from(first, (_, i) => fromOklab(0.63 + 0.27 * first[i]!, 0.16 * second[i]!, 0.16 * third[i]!));
}

function fromOklab(lightness: number, a: number, b: number): Rgb {
  const long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const short = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    toSrgb(4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short),
    toSrgb(-1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short),
    toSrgb(-0.0041960863 * long - 0.7034186147 * middle + 1.707614701 * short),
  ];
}

/** A linear intensity, clipped to 0 and 1, as an sRGB value from 0 to 255. */
function toSrgb(intensity: number): number {
  const light = Math.min(Math.max(intensity, 0), 1);
  return 255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055);
}
