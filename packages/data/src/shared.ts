export { augment, type AugmentStep } from './augment/augment.ts';
export { changeColour, type ColourChange } from './augment/colour.ts';
export {
  cover,
  crop,
  flip,
  resizeSample,
  turn,
  type Colour,
  type CropOptions,
  type Labelled,
  type Window,
} from './augment/geometry.ts';
export type { Batch, Loader, LoaderOptions } from './batches/loader.ts';
export { mix, type Mix } from './batches/mix.ts';
export type { Fit } from './batches/prepare.ts';
export {
  tasks,
  type Annotations,
  type DataSet,
  type Mask,
  type Sample,
  type Target,
  type Targets,
  type Task,
} from './dataSet.ts';
export { DataError } from './errors.ts';
export { parseCoco, type CocoAnnotations } from './read/coco.ts';
export type { FoundData, ReadOptions } from './read/read.ts';
export { parseVoc, type Annotation, type NamedBox } from './read/voc.ts';
