export type { CanvasContext, CanvasPixels } from './canvas.ts';
export { contrast, heatColor, textOn } from './colors.ts';
export * from './detections.ts';
export * from './guesses.ts';
export * from './masks.ts';
export * from './image.ts';
