import { denseInput, type DenseInput } from '@pvt/adapter-image';
import {
  ConfigError,
  createRandom,
  ignoredLabel,
  isImage,
  PvtError,
  type InputSize,
  type LabelMap,
  type Normalization,
  type Size,
} from '@pvt/core';
import { augment, checkSteps, type AugmentStep } from '../augment/augment.ts';
import { crop, resizeSample, resizeTarget } from '../augment/geometry.ts';
import type {
  Annotations,
  DataSet,
  LabelledImage,
  Mask,
  Sample,
  SourceReader,
  Target,
  Targets,
  Task,
} from '../dataSet.ts';
import { DataError } from '../errors.ts';
import { readLabels } from '../mask.ts';

/**
 * How an image is brought to the input's size, unless augmentation has done so: `letterbox` keeps its aspect
 * ratio and pads right and below, `stretch` ignores its aspect ratio, `crop` fills the input and cuts what
 * lies beyond.
 */
export type ResizeMode = 'letterbox' | 'stretch' | 'crop';

/** Everything that determines how samples are prepared; plain data, which can be sent to workers. */
export interface PrepareOptions {
  readonly size: Size | InputSize;
  readonly resizeMode: ResizeMode;
  readonly augment: readonly AugmentStep[];
  readonly normalize: Normalization;
  readonly seed: number | string;
  /** Number of classes, which masks are checked against. */
  readonly classes: number;
  /** Most bytes of decoded images to cache. */
  readonly cacheBytes: number;
}

/** One sample to prepare: augmented for an epoch, or unchanged for evaluation if `epoch` is undefined. */
export interface SampleRequest<K extends Task, Source> {
  readonly index: number;
  readonly sample: Sample<K, Source>;
  readonly epoch: number | undefined;
}

export interface PreparedSample<K extends Task> {
  readonly input: DenseInput;
  /** In the input's pixels; for evaluation in the image's own. */
  readonly target: Targets[K];
}

const isFixed = (size: Size | InputSize): size is Size => Array.isArray(size);

/** @throws ConfigError for an invalid size, resize mode or step */
export function checkPrepareOptions(
  task: Task,
  { size, resizeMode, augment: steps }: Pick<PrepareOptions, 'size' | 'resizeMode' | 'augment'>,
): void {
  const sides = isFixed(size) ? size : [size.shortSide, size.longSide, size.multiple];
  if ((isFixed(size) && size.length !== 2) || !sides.every((side) => Number.isSafeInteger(side) && side > 0))
    throw new ConfigError(
      'size-invalid',
      'createLoader: expected a size [height, width] or { shortSide, longSide, ' +
        'multiple } in positive whole pixels, ' +
        `got ${JSON.stringify(size)}; write a square as [224, 224].`,
    );
  if (!['letterbox', 'stretch', 'crop'].includes(resizeMode))
    throw new ConfigError(
      'resize-mode-invalid',
      `createLoader: expected the resizeMode letterbox, stretch or crop, got ${String(resizeMode)}; ` +
        'name one of these.',
    );
  if (resizeMode === 'crop' && task !== 'classify')
    throw new ConfigError(
      'resize-mode-invalid',
      `createLoader: expected the resizeMode letterbox or stretch to ${task}, ` +
        'got crop, which cuts what has to be ' +
        'found; crop by augmentation instead.',
    );
  checkSteps(steps);
  const cropping = steps.find(({ kind }) => kind === 'resizedCrop' || kind === 'scaledCrop');
  if (!isFixed(size) && (cropping || resizeMode !== 'letterbox'))
    throw new ConfigError(
      'size-invalid',
      `createLoader: expected a size [height, width] for ${cropping?.kind ?? resizeMode}, got bounds; ` +
        'name the size.',
    );
}

/** A sample's image and target as their files have them, checked against each other. */
async function readSample<K extends Task, Source>(
  { source, target, size, name }: Sample<K, Source>,
  classes: number,
  reader: SourceReader<Source>,
): Promise<LabelledImage<Targets[K]>> {
  const image = isImage(source) ? source : await reader.readImage(source);
  const { width, height } = image;
  if (size && (size[0] !== height || size[1] !== width))
    throw new DataError(
      'size-mismatch',
      `readSample: expected ${name} to be ${size[1]} wide and ${size[0]} high as its annotation says, ` +
        `got ${width} and ${height}; annotate the image as it is, upright.`,
    );
  const decoded: Target = isMask(target)
    ? await readLabels(target, classes, `the mask of ${name}`, reader)
    : target;
  if (isLabelMap(decoded) && (decoded.width !== width || decoded.height !== height))
    throw new DataError(
      'mask-misfit',
      `readSample: expected the mask of ${name} to be ${width} wide and ${height} high as the image, ` +
        `got ${decoded.width} and ${decoded.height}; scale it to the nearest pixel.`,
    );
  return { image, target: decoded as Targets[K] };
}

const isMask = <Source>(target: Annotations<Source>[Task]): target is Mask<Source> =>
  typeof target === 'object' && 'mask' in target;

const isLabelMap = (target: Target): target is LabelMap => typeof target === 'object' && 'labels' in target;

/** Adds the sample's name to an error of a reader. */
function withName(cause: unknown, name: string): unknown {
  if (cause instanceof DataError || !(cause instanceof PvtError)) return cause;
  return new DataError(cause.code, `${name}: ${cause.message}`, { cause });
}

/** Every sample of a data set unchanged, one after the other. */
export async function* readSamples<K extends Task, Source>(
  { samples, classes }: DataSet<K, Source>,
  reader: SourceReader<Source>,
): AsyncGenerator<LabelledImage<Targets[K]> & { readonly name: string }, void, undefined> {
  for (const sample of samples) {
    try {
      yield { ...(await readSample(sample, classes.length, reader)), name: sample.name };
    } catch (cause) {
      throw withName(cause, sample.name);
    }
  }
}

/**
 * Reads samples and caches decoded ones until `cacheBytes` are used up. Nothing is evicted: an epoch's order
 * is random, so no sample is worth more than another.
 */
function createCachedReader<Source>(
  { classes, cacheBytes }: PrepareOptions,
  reader: SourceReader<Source>,
): (index: number, sample: Sample<Task, Source>) => Promise<LabelledImage> {
  const cache = new Map<number, LabelledImage>();
  let bytesLeft = cacheBytes;
  return async (index, sample) => {
    const cached = cache.get(index);
    if (cached) return cached;
    const labelled = await readSample(sample, classes, reader);
    const { image, target } = labelled;
    const bytes = image.data.byteLength + (isLabelMap(target) ? target.labels.byteLength : 0);
    if (bytes <= bytesLeft && !isImage(sample.source) && !cache.has(index)) {
      bytesLeft -= bytes;
      cache.set(index, labelled);
    }
    return labelled;
  };
}

/** Reads, augments, resizes and normalizes samples. */
export function createPreparer<Source>(
  options: PrepareOptions,
  reader: SourceReader<Source>,
): (request: SampleRequest<Task, Source>) => Promise<PreparedSample<Task>> {
  const read = createCachedReader(options, reader);
  return async ({ index, sample, epoch }) => {
    try {
      const whole = await read(index, sample);
      const originalSize: Size = [whole.image.height, whole.image.width];
      if (epoch === undefined) {
        // The target stays in the image's own pixels, so only the image is resized.
        const { input } = toInput({ image: whole.image, target: 0 }, options);
        return { input, target: whole.target };
      }
      const random = createRandom(`${options.seed}/${epoch}/${index}`);
      const cropSize = isFixed(options.size) ? options.size : originalSize;
      const augmented = augment(withoutCrowds(whole), options.augment, random, cropSize);
      const { input, target } = toInput(augmented, options);
      const { contentSize } = input.placement;
      return { input: { ...input, placement: { contentSize, originalSize } }, target };
    } catch (cause) {
      throw withName(cause, sample.name);
    }
  };
}

/** Crowds are no training targets. */
function withoutCrowds(sample: LabelledImage): LabelledImage {
  const { image, target } = sample;
  if (typeof target === 'number' || isLabelMap(target)) return sample;
  return { image, target: target.filter(({ crowd }) => !crowd) };
}

/** The model's input for an image, and the target in the input's pixels. */
function toInput(
  sample: LabelledImage,
  { size, resizeMode, normalize }: PrepareOptions,
): { readonly input: DenseInput; readonly target: Target } {
  const { image, target } = isFixed(size) ? filled(sample, size, resizeMode) : sample;
  const input = denseInput(image, { size, resize: 'pillow', normalize });
  return { input, target: resizeTarget(target, [image.height, image.width], input.placement.contentSize) };
}

/** A sample that fills the input, for the modes other than `letterbox`, which `denseInput` does by itself. */
function filled(sample: LabelledImage, size: Size, resizeMode: ResizeMode): LabelledImage {
  if (resizeMode === 'letterbox') return sample;
  if (resizeMode === 'stretch') return resizeSample(sample, size);
  const [height, width] = size;
  const { image } = sample;
  const scale = Math.max(height / image.height, width / image.width);
  const resized = resizeSample(sample, [
    Math.max(height, Math.round(image.height * scale)),
    Math.max(width, Math.round(image.width * scale)),
  ]);
  return crop(resized, {
    top: Math.floor((resized.image.height - height) / 2),
    left: Math.floor((resized.image.width - width) / 2),
    height,
    width,
  });
}

/** A label map padded right and below with ignored labels. */
export function padLabels(map: LabelMap, [height, width]: Size): LabelMap {
  if (map.height === height && map.width === width) return map;
  const labels = new Uint16Array(height * width).fill(ignoredLabel);
  for (let y = 0; y < map.height; y++)
    labels.set(map.labels.subarray(y * map.width, (y + 1) * map.width), y * width);
  return { width, height, labels };
}
