export { centerCrop } from './crop.ts';
export { normalize } from './normalize.ts';
export { defaultMaxPixels, fromRgba, PictureError } from './picture.ts';
export { pictureFrom } from './pictureFrom.ts';
export { preprocess } from './preprocess.ts';
export { resize, shortSideSize } from './resize.ts';
