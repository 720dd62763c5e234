export { centerCrop } from './crop.ts';
export {
  boundedSize,
  denseInput,
  letterboxSize,
  type DenseInput,
  type DenseInputOptions,
} from './denseInput.ts';
export { defaultMaxPixels, fromRgba, ImageError, type ImageSource, type ReadImageOptions } from './image.ts';
export { normalize } from './normalize.ts';
export { preprocess } from './preprocess.ts';
export { resize, shortSideSize } from './resize.ts';
