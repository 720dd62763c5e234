import type { Color } from '@pvt/heads';

/** Relative luminance (WCAG 2.1), between 0 and 1. */
function luminance(color: Color): number {
  const [r, g, b] = color.map((value) => {
    const v = value / 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/**
 * Contrast ratio of two colours (WCAG 2.1), between 1 and 21; text reads well from 4.5 on.
 *
 * @example
 * contrast([0, 0, 0], [255, 255, 255]); // 21
 */
export function contrast(a: Color, b: Color): number {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

const black: Color = [0, 0, 0];
const white: Color = [255, 255, 255];

/** Black or white, whichever reads better on a colour. */
export const textOn = (color: Color): Color =>
  contrast(color, black) >= contrast(color, white) ? black : white;

/** A colour as a canvas takes it. */
export const css = ([r, g, b]: Color, alpha = 1): string => `rgba(${r}, ${g}, ${b}, ${alpha})`;

/** Viridis (van der Walt and Smith, 2015) at ten places: dark to light, for the colour-blind too. */
const viridis: readonly Color[] = [
  0x440154, 0x482878, 0x3e4989, 0x31688e, 0x26828e, 0x1f9e89, 0x35b779, 0x6ece58, 0xb5de2b, 0xfde725,
].map((hex) => [hex >> 16, (hex >> 8) & 255, hex & 255]);

/** The colour of a heat between 0 and 1. */
export function heatColor(heat: number): Color {
  const place = Math.min(Math.max(heat, 0), 1) * (viridis.length - 1);
  const first = Math.min(Math.floor(place), viridis.length - 2);
  return viridis[first]!.map((value, i) =>
    Math.round(value + (place - first) * (viridis[first + 1]![i]! - value)),
  ) as unknown as Color;
}
