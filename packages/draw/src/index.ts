export type { CanvasContext, CanvasPixels } from './canvas.ts';
export { contrastRatio, viridis, textColorOn } from './colors.ts';
export * from './detections.ts';
export * from './predictions.ts';
export * from './masks.ts';
export * from './image.ts';
