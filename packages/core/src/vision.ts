/** Decoded pixels: 8-bit RGB, row-major, interleaved; `data.length === width * height * 3`. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Whether a value is an {@link Image}, told by its fields. */
export const isImage = (value: unknown): value is Image =>
  typeof value === 'object' &&
  value !== null &&
  'data' in value &&
  value.data instanceof Uint8Array &&
  'width' in value &&
  'height' in value;

/** Pixels, height first as in a tensor's shape. */
export type Size = readonly [height: number, width: number];

/** Corners in pixels from the upper left of the image; right and bottom are exclusive. */
export type Box = readonly [left: number, top: number, right: number, bottom: number];

/** A ground-truth object. */
export interface LabelledBox {
  readonly box: Box;
  /** Index of the class. */
  readonly label: number;
  /** A crowd or an object marked difficult: no target in training, neither right nor wrong in evaluation. */
  readonly crowd?: boolean;
}

/** The class of every pixel, predicted or true. */
export interface LabelMap {
  readonly width: number;
  readonly height: number;
  /** Row-major class indices; {@link ignoredLabel} where a ground truth does not say. */
  readonly labels: Uint16Array;
  /** Softmax probability of each pixel's class, in a prediction that was asked for it. */
  readonly scores?: Float32Array;
}

/** Label of pixels that count neither in a loss nor in a score, as in mmsegmentation and torchvision. */
export const ignoredLabel = 255;

/** Where an image lies in a model's input. */
export interface Placement {
  /** What the image covers, from the input's upper left corner; the rest is padding. */
  readonly contentSize: Size;
  /** The image's own size. */
  readonly originalSize: Size;
}

/** Bounds within which an image of any size keeps its aspect ratio on the way to a dense model's input. */
export interface InputSize {
  /** Pixels of the shorter side, unless the longer side would exceed its bound. */
  readonly shortSide: number;
  /** Most pixels of the longer side. */
  readonly longSide: number;
  /** Both sides of the input are padded to multiples of this. */
  readonly multiple: number;
}

/** Per channel, after scaling to [0, 1]: (value - mean) / std. */
export interface Normalization {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** ImageNet's mean and standard deviation, which every published PVT was trained with. */
export const imageNetNormalization = {
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
} as const satisfies Normalization;

/**
 * Libraries whose bilinear resize a dense model may have been trained with; `denseInput` of the image adapter
 * has them.
 */
export const resizeMethods = ['pillow', 'opencv', 'torchvision'] as const;
export type ResizeMethod = (typeof resizeMethods)[number];

/**
 * Pillow's resampling filters, each at the number that Pillow and a `preprocessor_config.json` know it by.
 */
export const resamplings = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'] as const;
export type Resampling = (typeof resamplings)[number];

/**
 * How a checkpoint wants its images prepared, in the order of the fields: resize, centre crop, rescale,
 * normalise. A step that is absent is not done. A resize keeps its result in 8 bits, as Pillow does.
 */
export interface Preprocessing {
  readonly resize?: {
    /** Target in pixels: `shortSide` keeps the aspect ratio; `size` is [height, width] and stretches. */
    readonly to: { readonly shortSide: number } | { readonly size: readonly [height: number, width: number] };
    readonly resampling: Resampling;
  };
  /** Centre crop [height, width] in pixels; what lies outside the image is black. */
  readonly crop?: readonly [height: number, width: number];
  /** Factor on the 8-bit values, usually 1/255. */
  readonly rescale?: number;
  /** Per channel, after rescaling: (value - mean) / std. */
  readonly normalize?: Normalization;
}
