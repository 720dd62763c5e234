import { classColor, type Color, type Detection } from '@pvt/heads';
import { sizesFor, type CanvasContext } from './canvas.ts';
import { css } from './colors.ts';
import { Tags } from './tags.ts';

export interface DrawDetectionsOptions {
  /** Names of the classes by index; a detection's own `name` takes precedence. */
  readonly names?: readonly string[];
  /** Color of a class. Default: `classColor`. */
  readonly color?: (label: number) => Color;
  /** Height of the text in pixels. Default: a thirtieth of the canvas's shorter side. */
  readonly fontSize?: number;
  /** Whether scores follow the names. Default: true. */
  readonly scores?: boolean;
}

/**
 * Draws boxes with names and scores over an image; the boxes are in the canvas's pixels. Lines have a dark
 * outline, so that they are visible on any background; text is black or white by contrast, and tags avoid
 * each other.
 *
 * @example
 * context.drawImage(image, 0, 0);
 * drawDetections(context, await detector.detect(image));
 */
export function drawDetections(
  context: CanvasContext,
  detections: readonly (Detection & { readonly name?: string })[],
  { names = [], color = classColor, fontSize, scores = true }: DrawDetectionsOptions = {},
): void {
  const { font, line } = sizesFor(context, fontSize);
  context.save();
  context.lineJoin = 'round';
  // The best last, on top.
  const order = [...detections].sort((a, b) => a.score - b.score);
  for (const { box, label } of order) {
    const [left, top, right, bottom] = box;
    for (const [style, width] of [
      ['rgba(0, 0, 0, 0.55)', line + 2],
      [css(color(label)), line],
    ] as const) {
      context.beginPath();
      context.rect(left, top, right - left, bottom - top);
      context.strokeStyle = style;
      context.lineWidth = width;
      context.stroke();
    }
  }
  const tags = new Tags(context, font);
  for (const { box, label, score, name = names[label] ?? `${label}` } of order.reverse()) {
    const text = scores ? `${name} ${Math.round(score * 100)}%` : name;
    const { width, height } = tags.measure(text);
    const [left, top, right, bottom] = box;
    const [x, right2] = [left - line / 2, right + line / 2 - width];
    // Above the box, in its upper corners, below it, in its lower corners.
    tags.draw(
      text,
      color(label),
      [
        [x, top - height],
        [right2, top - height],
        [x, top],
        [right2, top],
        [x, bottom],
        [right2, bottom],
        [x, bottom - height],
        [right2, bottom - height],
      ].map(([a, b]) => [a!, b!] as const),
    );
  }
  context.restore();
}
