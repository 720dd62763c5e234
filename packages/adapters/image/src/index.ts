export { readImage } from './readImage.ts';
export * from './shared.ts';
