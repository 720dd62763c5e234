/** Red, green and blue, 8 bits each. */
export type Color = readonly [red: number, green: number, blue: number];

/** OKLCH to sRGB (Ottosson, 2020); undefined where sRGB does not have the colour. */
function fromOklch(lightness: number, chroma: number, hue: number): Color | undefined {
  const [a, b] = [chroma * Math.cos(hue), chroma * Math.sin(hue)];
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s, -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s, -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s];
  if (linear.some((value) => value < -1e-4 || value > 1.0001)) return undefined;
  return linear.map((value) => {
    const v = Math.min(1, Math.max(0, value));
    return Math.round(255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055));
  }) as unknown as Color;
}

/** Neighbouring classes lie this far apart on the colour wheel, and no two ever meet. */
const goldenAngle = Math.PI * (3 - Math.sqrt(5));
const lightnesses = [0.72, 0.6, 0.82] as const;

/**
 * The colour of a class: hues by the golden angle, three lightnesses in turn, as much chroma as the screen has. Any two
 * of the first hundred differ visibly, and a class keeps its colour whatever the number of classes.
 *
 * @example
 * classColor(0); // [255, 119, 129]
 */
export function classColor(label: number): Color {
  const lightness = lightnesses[label % lightnesses.length]!;
  for (let chroma = 0.2; ; chroma -= 0.01) {
    const color = fromOklch(lightness, Math.max(0, chroma), 0.3 + label * goldenAngle);
    if (color !== undefined) return color;
  }
}
