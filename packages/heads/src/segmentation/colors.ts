/** Red, green and blue, 8 bits each. */
export type Color = readonly [red: number, green: number, blue: number];

/** A point of OKLab (Ottosson, 2020), in which distances match perception. */
type Point = readonly [lightness: number, a: number, b: number];

/** OKLab to linear sRGB, unclipped. */
function toLinearRgb([lightness, a, b]: Point): [red: number, green: number, blue: number] {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

function toColor(point: Point): Color {
  const encode = (value: number): number => {
    const v = Math.min(1, Math.max(0, value));
    return Math.round(255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055));
  };
  const [red, green, blue] = toLinearRgb(point);
  return [encode(red), encode(green), encode(blue)];
}

/** The most saturated point of a hue and a lightness within sRGB, up to a chroma of 0.22. */
function vivid(lightness: number, hue: number): Point {
  for (let chroma = 0.22; ; chroma -= 0.005) {
    const point: Point = [lightness, chroma * Math.cos(hue), chroma * Math.sin(hue)];
    if (chroma <= 0 || toLinearRgb(point).every((value) => value >= 0 && value <= 1)) return point;
  }
}

const hues = 40;
const lightnesses = [0.62, 0.71, 0.8, 0.88];

/** All hues and lightnesses, each as far as possible from those before it (farthest-first traversal). */
function farthestFirst(): Color[] {
  const left = lightnesses.flatMap((lightness) =>
    Array.from({ length: hues }, (_, i) => vivid(lightness, (2 * Math.PI * i) / hues)),
  );
  const gaps = left.map(() => Infinity);
  const order: Point[] = [];
  for (let next = hues + 3; left.length > 0; next = gaps.indexOf(Math.max(...gaps))) {
    const [chosen] = left.splice(next, 1) as [Point];
    gaps.splice(next, 1);
    order.push(chosen);
    for (const [i, [lightness, a, b]] of left.entries()) {
      const distance = Math.hypot(lightness - chosen[0], a - chosen[1], b - chosen[2]);
      gaps[i] = Math.min(gaps[i]!, distance);
    }
  }
  return order.map(toColor);
}

let palette: readonly Color[] | undefined;

/**
 * The color of a class, the same for any number of classes: 160 colors in OKLab, each as far as possible from
 * those before it, which then repeat.
 *
 * @example
 * drawMask(context, map, 3, { color: classColor(3) });
 */
export function classColor(label: number): Color {
  palette ??= farthestFirst();
  return palette[label % palette.length]!;
}
