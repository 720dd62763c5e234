import type { Progress } from '@pvt/training';
import { createCanvas, fontFamily, type Canvas } from './canvas.ts';

const [width, height] = [960, 420];
const panel = { top: 56, bottom: 44, left: 64, right: 24 };
const ink = '#1f2937';
const faint = '#9ca3af';
const line = '#2563eb';
const highlight = '#dc2626';

type Point = readonly [x: number, y: number];
type Points = readonly Point[];
type Context = ReturnType<Canvas['getContext']>;

/** An exponential moving average that starts at the first value. */
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
  write(context, title, panel.left, 26, { size: 15, weight: 600 });

  const steps = Math.max(1, losses.length);
  const sorted = [...losses].sort((a, b) => a - b);
  // A first step far above all others would flatten the rest.
  const most = Math.max(1e-6, (sorted[Math.floor(sorted.length * 0.99)] ?? 1) * 1.05);
  const capped = (values: readonly number[]): Points =>
    values.map((value, i) => [i + 1, Math.min(value, most)]);
  const left = drawChart(context, {
    name: 'training loss',
    from: 0,
    to: width / 2,
    steps,
    range: [0, most],
    format: (value) => `${Number(value.toPrecision(2))}`,
  });
  drawLine(context, capped(losses).map(left), '#bfdbfe', 1);
  drawLine(context, capped(smooth(losses, Math.max(0.06, 2 / (losses.length + 1)))).map(left), line, 2);

  const right = drawChart(context, {
    name: `${score} on validation`,
    from: width / 2,
    to: width,
    steps,
    range: [0, 1],
    format: (value) => value.toFixed(1),
  });
  const scores = validations.map(({ step, metrics }) => right([step, metrics.score]));
  drawLine(context, scores, line, 2);
  for (const point of scores) drawDot(context, point, 2.5, line);
  if (best) drawBest(context, right([best.step, best.metrics.score]), best.metrics.score);
  return canvas.toBuffer('image/png');
}

interface TextStyle {
  readonly size?: number;
  readonly weight?: number;
  readonly color?: string;
  readonly align?: 'left' | 'right' | 'center';
}

function write(
  context: Context,
  text: string,
  x: number,
  y: number,
  { size = 12, weight = 400, color = ink, align = 'left' }: TextStyle = {},
): void {
  context.font = `${weight} ${size}px ${fontFamily}`;
  context.fillStyle = color;
  context.textAlign = align;
  context.fillText(text, x, y);
}

interface Chart {
  readonly name: string;
  /** Left and right edge on the canvas. */
  readonly from: number;
  readonly to: number;
  readonly steps: number;
  /** Of the vertical axis. */
  readonly range: readonly [least: number, most: number];
  format(value: number): string;
}

/** Draws the axes of a chart. @returns where a point of the chart is on the canvas */
function drawChart(
  context: Context,
  { name, from, to, steps, range, format }: Chart,
): (point: Point) => Point {
  const [least, most] = range;
  const [left, right] = [from + panel.left, to - panel.right];
  const [top, bottom] = [panel.top, height - panel.bottom];
  const toCanvas = ([x, y]: Point): Point => [
    left + (x / steps) * (right - left),
    bottom - ((y - least) / (most - least)) * (bottom - top),
  ];
  write(context, name, left, top - 8, { weight: 600 });
  write(context, 'steps', right, height - 10, { color: faint, align: 'right' });
  for (const value of ticks(least, most, 5)) {
    const [, y] = toCanvas([0, value]);
    drawLine(
      context,
      [
        [left, y],
        [right, y],
      ],
      '#e5e7eb',
      1,
    );
    write(context, format(value), left - 8, y + 4, { color: faint, align: 'right' });
  }
  for (const value of ticks(0, steps, 5)) {
    const [x] = toCanvas([value, least]);
    write(context, `${value}`, x, bottom + 18, { color: faint, align: 'center' });
  }
  return toCanvas;
}

function drawLine(context: Context, points: Points, color: string, lineWidth: number): void {
  context.strokeStyle = color;
  context.lineWidth = lineWidth;
  context.lineJoin = 'round';
  context.beginPath();
  points.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
  context.stroke();
}

function drawDot(context: Context, [x, y]: Point, radius: number, color: string): void {
  context.fillStyle = color;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function drawBest(context: Context, [x, y]: Point, score: number): void {
  drawDot(context, [x, y], 5, highlight);
  write(context, `best ${score.toFixed(3)}`, x, y > panel.top + 24 ? y - 12 : y + 20, {
    weight: 600,
    color: highlight,
    align: x > 0.85 * width ? 'right' : 'center',
  });
}
