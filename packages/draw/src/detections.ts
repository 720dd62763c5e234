import { classColor, type Color, type Detection } from '@pvt/heads';
import { sizesFor, type CanvasContext } from './canvas.ts';
import { css } from './colors.ts';
import { Tags } from './tags.ts';

export interface DrawDetectionsOptions {
  /** Names of the classes by index; a detection's own `name` goes before. */
  readonly names?: readonly string[];
  /** Colour of a class; `classColor` where absent. */
  readonly color?: (label: number) => Color;
  /** Height of the text in pixels; a thirtieth of the shorter side where absent. */
  readonly fontSize?: number;
  /** Whether scores stand behind the names; true where absent. */
  readonly scores?: boolean;
}

/**
 * Boxes with names and scores over what the canvas shows, whose pixels are those of the boxes. A dark rim keeps lines
 * visible on any ground, text is black or white by contrast, and tags avoid each other.
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
  // The surest last, on top.
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
    // Above the box, inside its upper corners, below it, inside its lower corners.
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
