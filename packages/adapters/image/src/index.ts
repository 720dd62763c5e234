export { centerCrop } from './crop.ts';
export { normalize } from './normalize.ts';
export { defaultMaxPixels, fromRgba, ImageError } from './image.ts';
export { imageFrom } from './imageFrom.ts';
export { preprocess } from './preprocess.ts';
export { resize, shortSideSize } from './resize.ts';
