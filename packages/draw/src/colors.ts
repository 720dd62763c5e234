import type { Color } from '@pvt/heads';

/** Relative luminance (WCAG 2.1), between 0 and 1. */
function luminance([red, green, blue]: Color): number {
  const linear = (value: number): number => {
    const v = value / 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

/**
 * Contrast ratio of two colors (WCAG 2.1), between 1 and 21; text reads well from 4.5 on.
 *
 * @example
 * contrastRatio([0, 0, 0], [255, 255, 255]); // 21
 */
export function contrastRatio(a: Color, b: Color): number {
  const [lighter, darker] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (lighter + 0.05) / (darker + 0.05);
}

const black: Color = [0, 0, 0];
const white: Color = [255, 255, 255];

/** Black or white, whichever reads better on a color. */
export const textColorOn = (color: Color): Color =>
  contrastRatio(color, black) >= contrastRatio(color, white) ? black : white;

/** A color as a canvas takes it. */
export const css = ([r, g, b]: Color, alpha = 1): string => `rgba(${r}, ${g}, ${b}, ${alpha})`;

/** Viridis (van der Walt and Smith, 2015) at ten evenly spaced values. */
const viridisColors = [
  0x440154, 0x482878, 0x3e4989, 0x31688e, 0x26828e, 0x1f9e89, 0x35b779, 0x6ece58, 0xb5de2b, 0xfde725,
].map((hex): Color => [hex >> 16, (hex >> 8) & 255, hex & 255]);

/** The viridis color map: from dark blue at 0 to yellow at 1, for the color-blind too. */
export function viridis(value: number): Color {
  const position = Math.min(Math.max(value, 0), 1) * (viridisColors.length - 1);
  const index = Math.min(Math.floor(position), viridisColors.length - 2);
  const [low, high] = [viridisColors[index]!, viridisColors[index + 1]!];
  const mix = (channel: 0 | 1 | 2) =>
    Math.round(low[channel] + (position - index) * (high[channel] - low[channel]));
  return [mix(0), mix(1), mix(2)];
}
