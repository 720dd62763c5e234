import type { Progress } from '@pvt/training';
import { createCanvas, fontFamily } from './canvas.ts';

const [width, height] = [960, 420];
const panel = { top: 56, bottom: 44, left: 64, right: 24 };
const ink = '#1f2937';
const faint = '#9ca3af';
const line = '#2563eb';

type Points = readonly (readonly [x: number, y: number])[];

/** A moving average that begins with the first value. */
function smooth(values: readonly number[], share: number): number[] {
  let mean = values[0] ?? 0;
  return values.map((value) => (mean += share * (value - mean)));
}

/** Round steps of an axis from `least` to `most`. */
function ticks(least: number, most: number, count: number): number[] {
  const raw = Math.max(1e-9, (most - least) / count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw)!;
  const first = Math.ceil(least / step - 1e-9);
  return Array.from({ length: Math.floor(most / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

/** The loss of every step and the score of every validation, side by side, as a PNG. */
export function drawCurve(
  { losses, validations, best }: Pick<Progress, 'losses' | 'validations' | 'best'>,
  { title, score }: { readonly title: string; readonly score: string },
): Uint8Array {
  const canvas = createCanvas(2 * width, 2 * height);
  const context = canvas.getContext('2d');
  context.scale(2, 2);
  context.fillStyle = '#ffffff';
  context.fillRect(0, 0, width, height);
  const text = (
    words: string,
    x: number,
    y: number,
    {
      size = 12,
      weight = 400,
      color = ink,
      align = 'left',
    }: { size?: number; weight?: number; color?: string; align?: 'left' | 'right' | 'center' } = {},
  ) => {
    context.font = `${weight} ${size}px ${fontFamily}`;
    context.fillStyle = color;
    context.textAlign = align;
    context.fillText(words, x, y);
  };
  text(title, panel.left, 26, { size: 15, weight: 600 });

  const steps = Math.max(1, losses.length);
  const chart = (
    name: string,
    from: number,
    to: number,
    [least, most]: readonly [number, number],
    format: (value: number) => string,
  ) => {
    const [left, right, top, bottom] = [
      from + panel.left,
      to - panel.right,
      panel.top,
      height - panel.bottom,
    ];
    const at = ([x, y]: readonly [number, number]): [number, number] => [
      left + (x / steps) * (right - left),
      bottom - ((y - least) / (most - least)) * (bottom - top),
    ];
    text(name, left, top - 8, { weight: 600 });
    text('steps', right, height - 10, { color: faint, align: 'right' });
    context.lineWidth = 1;
    for (const value of ticks(least, most, 5)) {
      const [, y] = at([0, value]);
      context.strokeStyle = '#e5e7eb';
      context.beginPath();
      context.moveTo(left, y);
      context.lineTo(right, y);
      context.stroke();
      text(format(value), left - 8, y + 4, { color: faint, align: 'right' });
    }
    for (const value of ticks(0, steps, 5))
      text(`${value}`, at([value, least])[0], bottom + 18, { color: faint, align: 'center' });
    return {
      at,
      draw(points: Points, color: string, thick: number) {
        context.strokeStyle = color;
        context.lineWidth = thick;
        context.lineJoin = 'round';
        context.beginPath();
        points.forEach((point, i) => (i === 0 ? context.moveTo(...at(point)) : context.lineTo(...at(point))));
        context.stroke();
      },
    };
  };

  const sorted = [...losses].sort((a, b) => a - b);
  // A first step far above all others would flatten the rest.
  const most = Math.max(1e-6, (sorted[Math.floor(sorted.length * 0.99)] ?? 1) * 1.05);
  const left = chart('training loss', 0, width / 2, [0, most], (value) => `${Number(value.toPrecision(2))}`);
  left.draw(
    losses.map((value, i) => [i + 1, Math.min(value, most)]),
    '#bfdbfe',
    1,
  );
  left.draw(
    smooth(losses, Math.max(0.06, 2 / (losses.length + 1))).map((value, i) => [i + 1, Math.min(value, most)]),
    line,
    2,
  );

  const scores = validations.map(({ step, metrics }) => [step, metrics.score] as const);
  const right = chart(`${score} on validation`, width / 2, width, [0, 1], (value) => value.toFixed(1));
  right.draw(scores, line, 2);
  for (const point of scores) dot(right.at(point), 2.5, line);
  if (best) {
    const [x, y] = right.at([best.step, best.metrics.score]);
    dot([x, y], 5, '#dc2626');
    text(`best ${best.metrics.score.toFixed(3)}`, x, y > panel.top + 24 ? y - 12 : y + 20, {
      weight: 600,
      color: '#dc2626',
      align: x > 0.85 * width ? 'right' : 'center',
    });
  }
  return canvas.toBuffer('image/png');

  function dot([x, y]: readonly [number, number], radius: number, color: string): void {
    context.fillStyle = color;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  }
}
