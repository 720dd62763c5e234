import type { Color } from '@pvt/heads';
import { fontOf, type CanvasContext } from './canvas.ts';
import { css, textOn } from './colors.ts';

interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

const shared = (a: Rectangle, b: Rectangle): number =>
  Math.max(0, Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));

/** Texts on coloured ground, placed where they cover each other least. */
export class Tags {
  readonly #placed: Rectangle[] = [];
  readonly #context: CanvasContext;
  readonly #font: number;

  constructor(context: CanvasContext, font: number) {
    this.#context = context;
    this.#font = font;
  }

  /** The size of a text with its ground. */
  measure(text: string): { readonly width: number; readonly height: number } {
    this.#context.font = fontOf(this.#font);
    return {
      width: Math.ceil(this.#context.measureText(text).width + this.#font * 0.7),
      height: Math.ceil(this.#font * 1.35),
    };
  }

  /** Draws at the first of these corners where nothing is yet, else where least is; always inside the canvas. */
  draw(text: string, color: Color, corners: readonly (readonly [x: number, y: number])[]): void {
    const { width, height } = this.measure(text);
    const { canvas } = this.#context;
    const spots = corners.map(([x, y]) => ({
      x: Math.max(0, Math.min(x, canvas.width - width)),
      y: Math.max(0, Math.min(y, canvas.height - height)),
      width,
      height,
    }));
    const covered = spots.map((spot) => this.#placed.reduce((sum, other) => sum + shared(spot, other), 0));
    const spot = spots[covered.indexOf(Math.min(...covered))]!;
    this.#placed.push(spot);
    this.#context.fillStyle = css(color);
    this.#context.fillRect(spot.x, spot.y, width, height);
    this.#context.fillStyle = css(textOn(color));
    this.#context.textBaseline = 'middle';
    this.#context.textAlign = 'left';
    this.#context.fillText(text, spot.x + this.#font * 0.35, spot.y + height / 2 + this.#font * 0.04);
  }
}
