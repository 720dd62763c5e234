export { augment, type AugmentStep } from './augment/augment.ts';
export { adjustColor, type ColorAdjustment } from './augment/color.ts';
export {
  crop,
  erase,
  flip,
  resizeSample,
  rotate90,
  type Color,
  type CropOptions,
  type Region,
} from './augment/geometry.ts';
export type { Batch, Loader, LoaderOptions } from './batches/loader.ts';
export { mix, type MixOptions } from './batches/mix.ts';
export type { ResizeMode } from './batches/prepare.ts';
export {
  tasks,
  type Annotations,
  type DataSet,
  type FileSource,
  type LabelledImage,
  type Mask,
  type Sample,
  type Target,
  type Targets,
  type Task,
} from './dataSet.ts';
export { DataError } from './errors.ts';
export { parseCoco, type CocoAnnotations } from './read/coco.ts';
export type { LoadedDataSet, ReadOptions } from './read/read.ts';
export type { DataSetSplits } from './read/splits.ts';
export { parseVoc, type Annotation, type NamedBox } from './read/voc.ts';
