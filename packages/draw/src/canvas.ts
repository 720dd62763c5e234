/** Pixels of a canvas: an `ImageData`, 8-bit RGBA. */
export interface CanvasPixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray;
}

/**
 * The part of a 2d context that is needed: a browser's `CanvasRenderingContext2D` and
 * `OffscreenCanvasRenderingContext2D` have it, and in Node that of `@napi-rs/canvas`.
 */
export interface CanvasContext {
  readonly canvas: { readonly width: number; readonly height: number };
  fillStyle: unknown;
  strokeStyle: unknown;
  lineWidth: number;
  lineJoin: string;
  font: string;
  textBaseline: string;
  textAlign: string;
  save(): void;
  restore(): void;
  beginPath(): void;
  rect(x: number, y: number, width: number, height: number): void;
  fill(): void;
  stroke(): void;
  fillRect(x: number, y: number, width: number, height: number): void;
  fillText(text: string, x: number, y: number): void;
  strokeText(text: string, x: number, y: number): void;
  measureText(text: string): { readonly width: number };
  getImageData(x: number, y: number, width: number, height: number): CanvasPixels;
  putImageData(pixels: never, x: number, y: number): void;
}

/** Changes a context's pixels in place. */
export function editPixels(context: CanvasContext, edit: (pixels: CanvasPixels) => void): void {
  const { width, height } = context.canvas;
  const pixels = context.getImageData(0, 0, width, height);
  edit(pixels);
  // Every platform has its own class of pixels, and accepts the ones that it returned.
  context.putImageData(pixels as never, 0, 0);
}

/** Font size and line width that stay readable at any size: about one thirtieth of the shorter side. */
export function sizesFor(
  { canvas: { width, height } }: CanvasContext,
  fontSize?: number,
): { readonly font: number; readonly line: number } {
  const font = fontSize ?? Math.round(Math.min(Math.max(Math.min(width, height) / 30, 12), 40));
  return { font, line: Math.max(2, Math.round(font / 7)) };
}

/** Fonts that every platform has one of. */
export const fontOf = (size: number): string =>
  `600 ${size}px system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", Arial, sans-serif`;
