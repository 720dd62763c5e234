import type { Color } from '@pvt/heads';
import { fontOf, type CanvasContext } from './canvas.ts';
import { css, textColorOn } from './colors.ts';

interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

const intersection = (a: Rectangle, b: Rectangle): number =>
  Math.max(0, Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));

/** Texts on a colored background, positioned where they hide each other least. */
export class Tags {
  readonly #drawn: Rectangle[] = [];
  readonly #context: CanvasContext;
  readonly #font: number;

  constructor(context: CanvasContext, font: number) {
    this.#context = context;
    this.#font = font;
  }

  /** The size of a text with its background. */
  measure(text: string): { readonly width: number; readonly height: number } {
    this.#context.font = fontOf(this.#font);
    return {
      width: Math.ceil(this.#context.measureText(text).width + this.#font * 0.7),
      height: Math.ceil(this.#font * 1.35),
    };
  }

  /**
   * Draws at the first of these corners that hides no other tag, or else the least of them; always on the
   * canvas.
   */
  draw(text: string, color: Color, corners: readonly (readonly [x: number, y: number])[]): void {
    const { width, height } = this.measure(text);
    const { canvas } = this.#context;
    const positions = corners.map(([x, y]) => ({
      x: Math.max(0, Math.min(x, canvas.width - width)),
      y: Math.max(0, Math.min(y, canvas.height - height)),
      width,
      height,
    }));
    const hidden = positions.map((position) =>
      this.#drawn.reduce((sum, other) => sum + intersection(position, other), 0),
    );
    const { x, y } = positions[hidden.indexOf(Math.min(...hidden))]!;
    this.#drawn.push({ x, y, width, height });
    this.#context.fillStyle = css(color);
    this.#context.fillRect(x, y, width, height);
    this.#context.fillStyle = css(textColorOn(color));
    this.#context.textBaseline = 'middle';
    this.#context.textAlign = 'left';
    this.#context.fillText(text, x + this.#font * 0.35, y + height / 2 + this.#font * 0.04);
  }
}
