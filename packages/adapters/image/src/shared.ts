export { centerCrop } from './crop.ts';
export {
  boundedSize,
  denseInput,
  letterboxSize,
  resizeMethods,
  type DenseInput,
  type DenseInputOptions,
  type ResizeMethod,
} from './denseInput.ts';
export { defaultMaxPixels, fromRgba, ImageError, type ImageSource, type ReadImageOptions } from './image.ts';
export { normalize } from './normalize.ts';
export { preprocess } from './preprocess.ts';
export { resize, shortSideSize } from './resize.ts';
