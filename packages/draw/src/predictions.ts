import { classColor, type Color, type Prediction } from '@pvt/heads';
import { fontOf, sizesFor, type CanvasContext } from './canvas.ts';
import { css } from './colors.ts';

export interface DrawPredictionsOptions {
  /** Color of a class. Default: `classColor`. */
  readonly color?: (label: number) => Color;
  /** Height of the text in pixels. Default: a thirtieth of the canvas's shorter side. */
  readonly fontSize?: number;
}

/**
 * A classifier's predictions as bars along the canvas's lower border, the best on top.
 *
 * @example
 * drawPredictions(context, await classifier.classify(image));
 */
export function drawPredictions(
  context: CanvasContext,
  predictions: readonly Prediction[],
  { color = classColor, fontSize }: DrawPredictionsOptions = {},
): void {
  const { font } = sizesFor(context, fontSize);
  const { width, height } = context.canvas;
  const row = Math.round(font * 1.6);
  const top = height - row * predictions.length - Math.round(font * 0.6);
  context.save();
  context.fillStyle = 'rgba(12, 14, 20, 0.72)';
  context.fillRect(0, top, width, height - top);
  context.font = fontOf(font);
  context.textBaseline = 'middle';
  const percentWidth = Math.round(context.measureText('100.0%').width);
  const margin = Math.round(font * 0.6);
  const barWidth = width - 2 * margin;
  for (const [i, { label, name, probability }] of predictions.entries()) {
    const y = top + Math.round(font * 0.3) + row * i;
    context.fillStyle = css(color(label), 0.55);
    context.fillRect(margin, y + 2, Math.max(2, barWidth * probability), row - 4);
    // A dark outline, since the text crosses the end of its bar.
    context.lineJoin = 'round';
    context.lineWidth = Math.max(2, font / 6);
    context.strokeStyle = 'rgba(12, 14, 20, 0.85)';
    context.fillStyle = css([255, 255, 255]);
    for (const [text, align, x] of [
      [shorten(context, name, barWidth - percentWidth - 3 * margin), 'left', margin * 2],
      [`${(probability * 100).toFixed(1)}%`, 'right', width - margin * 2],
    ] as const) {
      context.textAlign = align;
      context.strokeText(text, x, y + row / 2);
      context.fillText(text, x, y + row / 2);
    }
  }
  context.restore();
}

/** A text with an ellipsis in place of what exceeds a width in pixels. */
function shorten(context: CanvasContext, text: string, maxWidth: number): string {
  if (context.measureText(text).width <= maxWidth) return text;
  let end = text.length - 1;
  while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > maxWidth) end--;
  return `${text.slice(0, end)}…`;
}
