import { classColor, type Color, type Prediction } from '@pvt/heads';
import { fontOf, sizesFor, type CanvasContext } from './canvas.ts';
import { css } from './colors.ts';

export interface DrawGuessesOptions {
  readonly color?: (label: number) => Color;
  readonly fontSize?: number;
}

/**
 * A classifier's guesses as bars along the canvas's lower border, the best on top.
 *
 * @example
 * drawGuesses(context, await classifier.classify(image));
 */
export function drawPredictions(
  context: CanvasContext,
  guesses: readonly Prediction[],
  { color = classColor, fontSize }: DrawGuessesOptions = {},
): void {
  const { font } = sizesFor(context, fontSize);
  const { width, height } = context.canvas;
  const row = Math.round(font * 1.6);
  const top = height - row * guesses.length - Math.round(font * 0.6);
  context.save();
  context.fillStyle = 'rgba(12, 14, 20, 0.72)';
  context.fillRect(0, top, width, height - top);
  context.font = fontOf(font);
  context.textBaseline = 'middle';
  const share = Math.round(context.measureText('100.0%').width);
  const margin = Math.round(font * 0.6);
  for (const [i, { label, name, probability }] of guesses.entries()) {
    const y = top + Math.round(font * 0.3) + row * i;
    const room = width - 2 * margin;
    context.fillStyle = css(color(label), 0.55);
    context.fillRect(margin, y + 2, Math.max(2, room * probability), row - 4);
    // A rim, for the text crosses the end of its bar.
    context.lineJoin = 'round';
    context.lineWidth = Math.max(2, font / 6);
    context.strokeStyle = 'rgba(12, 14, 20, 0.85)';
    context.fillStyle = css([255, 255, 255]);
    for (const [text, align, x] of [
      [fitted(context, name, room - share - 3 * margin), 'left', margin * 2],
      [`${(probability * 100).toFixed(1)}%`, 'right', width - margin * 2],
    ] as const) {
      context.textAlign = align;
      context.strokeText(text, x, y + row / 2);
      context.fillText(text, x, y + row / 2);
    }
  }
  context.restore();
}

/** A text that is no wider than the room there is. */
function fitted(context: CanvasContext, text: string, room: number): string {
  if (context.measureText(text).width <= room) return text;
  let end = text.length - 1;
  while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > room) end--;
  return `${text.slice(0, end)}…`;
}
