/** Decoded pixels: 8-bit RGB, row-major, interleaved; `data.length === width * height * 3`. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Pillow's resampling filters, each at the number that Pillow and a `preprocessor_config.json` know it by. */
export const resamplings = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'] as const;
export type Resampling = (typeof resamplings)[number];

/**
 * How a checkpoint wants its images prepared, in the order of the fields: resize, centre crop, rescale, normalise.
 * A step that is absent is not done. A resize keeps its result in 8 bits, as Pillow does.
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
  readonly normalize?: { readonly mean: readonly number[]; readonly std: readonly number[] };
}
