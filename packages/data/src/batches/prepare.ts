import {
  ConfigError,
  createRandom,
  PvtError,
  type Image,
  type Size,
  type InputSize,
  isImage,
  type LabelMap,
  ignoredLabel,
} from '@pvt/core';
import { checkSteps, augment, within, type AugmentStep } from '../augment/augment.ts';
import { crop, resizeSample, type Labelled } from '../augment/geometry.ts';
import {
  type Annotations,
  type DataSet,
  type Mask,
  type Opener,
  type Sample,
  type Target,
  type Targets,
  type Task,
} from '../dataSet.ts';
import { DataError } from '../errors.ts';
import { readLabels } from '../mask.ts';

/**
 * How an image comes to the input's size where augmentation has not brought it there: `letterbox` keeps its shape and pads
 * right and below, `stretch` does not, `cover` fills the input and cuts what is beyond.
 */
export type Fit = 'letterbox' | 'stretch' | 'cover';

/** All that tells how samples are prepared; plain data, so that workers can have it. */
export interface Plan {
  readonly size: Size | InputSize;
  readonly fit: Fit;
  readonly augment: readonly AugmentStep[];
  readonly seed: number | string;
  /** Number of classes, which masks are held against. */
  readonly classes: number;
  /** Decoded images that are kept, in bytes. */
  readonly cacheBytes: number;
}

/** One sample to prepare: for an epoch, or as it is, to be evaluated. */
export interface Job<K extends Task, Source> {
  readonly index: number;
  readonly sample: Sample<K, Source>;
  readonly epoch: number | undefined;
}

/** An image at the input's size, less the padding. */
export interface Prepared<K extends Task> {
  readonly image: Image;
  /** In the pixels of `image`; of an evaluation in the image's own. */
  readonly target: Targets[K];
  readonly originalSize: Size;
}

const fixed = (size: Size | InputSize): size is Size => Array.isArray(size);

/** @throws ConfigError for a size, fit or step that cannot be followed */
export function checkPlan(task: Task, { size, fit, augment: steps }: Plan): void {
  const sides = fixed(size) ? size : [size.shortSide, size.longSide, size.multiple];
  if ((fixed(size) && size.length !== 2) || !sides.every((side) => Number.isSafeInteger(side) && side > 0)) {
    throw new ConfigError(
      'size-invalid',
      `createLoader: expected a size [height, width] or { shortSide, longSide, multiple } in positive whole pixels, got ${JSON.stringify(size)}; write a square as [224, 224].`,
    );
  }
  if (!['letterbox', 'stretch', 'cover'].includes(fit))
    throw new ConfigError(
      'fit-invalid',
      `createLoader: expected the fit letterbox, stretch or cover, got ${String(fit)}; name one of these.`,
    );
  if (fit === 'cover' && task !== 'classify')
    throw new ConfigError(
      'fit-invalid',
      `createLoader: expected the fit letterbox or stretch to ${task}, got cover, which cuts what has to be found; crop by augmentation instead.`,
    );
  checkSteps(steps);
  const cropping = steps.find(({ kind }) => kind === 'resizedCrop' || kind === 'scaledCrop');
  if (!fixed(size) && (cropping || fit !== 'letterbox'))
    throw new ConfigError(
      'size-invalid',
      `createLoader: expected a size [height, width] for ${cropping?.kind ?? fit}, got bounds; name the size.`,
    );
}

/** A sample's image and truth as they lie in their files, held against each other. */
async function readSample<Source>(
  { source, target, size, name }: Sample<Task, Source>,
  classes: number,
  opener: Opener<Source>,
): Promise<Labelled> {
  const image = isImage(source) ? source : await opener.image(source);
  const { width, height } = image;
  if (size && (size[0] !== height || size[1] !== width)) {
    throw new DataError(
      'size-mismatch',
      `readSample: expected ${name} to be ${size[1]} wide and ${size[0]} high as its annotation says, got ${width} and ${height}; annotate the image as it is, upright.`,
    );
  }
  const truth: Target = isMask(target)
    ? await readLabels(target, classes, `the mask of ${name}`, opener)
    : target;
  if (typeof truth === 'object' && 'labels' in truth && (truth.width !== width || truth.height !== height)) {
    throw new DataError(
      'mask-misfit',
      `readSample: expected the mask of ${name} to be ${width} wide and ${height} high as the image, got ${truth.width} and ${truth.height}; scale it to the nearest pixel.`,
    );
  }
  return { image, target: truth };
}

/** An error of an image's reader with the sample's name. */
function naming(cause: unknown, name: string): unknown {
  if (cause instanceof DataError || !(cause instanceof PvtError)) return cause;
  return new DataError(cause.code, `${name}: ${cause.message}`, { cause });
}

/** Every sample of a data set as it is, one after the other. */
export async function* samplesOf<K extends Task, Source>(
  { samples, classes }: DataSet<K, Source>,
  opener: Opener<Source>,
): AsyncGenerator<Labelled<Targets[K]> & { readonly name: string }, void, undefined> {
  for (const sample of samples) {
    try {
      yield {
        ...((await readSample(
          sample as unknown as Sample<Task, Source>,
          classes.length,
          opener,
        )) as unknown as Labelled<Targets[K]>),
        name: sample.name,
      };
    } catch (cause) {
      throw naming(cause, sample.name);
    }
  }
}

/** Reads samples and keeps what is decoded as long as there is room: the order of an epoch is random, so none is worth more than another. */
export function createPreparer<Source>(
  plan: Plan,
  opener: Opener<Source>,
): <K extends Task>(job: Job<K, Source>) => Promise<Prepared<K>> {
  const cache = new Map<number, Labelled>();
  let room = plan.cacheBytes;

  async function decoded(index: number, sample: Sample<Task, Source>): Promise<Labelled> {
    const known = cache.get(index);
    if (known) return known;
    const labelled = await readSample(sample, plan.classes, opener);
    const { image, target } = labelled;
    const bytes =
      image.data.byteLength +
      (typeof target === 'object' && 'labels' in target ? target.labels.byteLength : 0);
    if (bytes <= room && !isImage(sample.source) && !cache.has(index)) {
      room -= bytes;
      cache.set(index, labelled);
    }
    return labelled;
  }

  return async <K extends Task>({ index, sample, epoch }: Job<K, Source>): Promise<Prepared<K>> => {
    try {
      const whole = (await decoded(index, sample as unknown as Sample<Task, Source>)) as unknown as Labelled<
        Targets[K]
      >;
      const originalSize: Size = [whole.image.height, whole.image.width];
      if (epoch === undefined)
        return {
          image: fitted({ image: whole.image, target: 0 }, plan).image,
          target: whole.target,
          originalSize,
        };
      const random = createRandom(`${plan.seed}/${epoch}/${index}`);
      const size = fixed(plan.size) ? plan.size : originalSize;
      const { image, target } = fitted(augment(wanted(whole), plan.augment, random, size), plan);
      return { image, target, originalSize };
    } catch (cause) {
      throw naming(cause, sample.name);
    }
  };
}

const isMask = <Source>(target: Annotations<Source>[Task]): target is Mask<Source> =>
  typeof target === 'object' && 'mask' in target;

/** Without crowds, which are no targets. */
function wanted<T extends Target>(sample: Labelled<T>): Labelled<T> {
  const { target } = sample;
  return Array.isArray(target)
    ? { ...sample, target: target.filter(({ crowd }) => !crowd) as unknown as T }
    : sample;
}

function fitted<T extends Target>(sample: Labelled<T>, { size, fit }: Plan): Labelled<T> {
  const { image } = sample;
  if (!fixed(size)) {
    const scale = Math.min(
      size.shortSide / Math.min(image.height, image.width),
      size.longSide / Math.max(image.height, image.width),
    );
    // Rounded as mmcv's rescale_size.
    return resizeSample(
      sample,
      [image.height, image.width].map((side) => Math.max(1, Math.floor(side * scale + 0.5))) as [
        number,
        number,
      ],
    );
  }
  if (fit === 'stretch') return resizeSample(sample, size);
  if (fit === 'letterbox') return resizeSample(sample, within(image, size));
  const [height, width] = size;
  const scale = Math.max(height / image.height, width / image.width);
  const filled = resizeSample(sample, [
    Math.max(height, Math.round(image.height * scale)),
    Math.max(width, Math.round(image.width * scale)),
  ]);
  return crop(filled, {
    top: Math.floor((filled.image.height - height) / 2),
    left: Math.floor((filled.image.width - width) / 2),
    height,
    width,
  });
}

/** The size of a batch's input: as planned, or the largest of its images up to the next multiple. */
export function inputSize(size: Size | InputSize, images: readonly Image[]): Size {
  if (fixed(size)) return size;
  const side = (of: 'height' | 'width'): number =>
    Math.ceil(Math.max(...images.map((image) => image[of])) / size.multiple) * size.multiple;
  return [side('height'), side('width')];
}

/** A label map padded right and below with what is ignored. */
export function padLabels(map: LabelMap, [height, width]: Size): LabelMap {
  if (map.height === height && map.width === width) return map;
  const labels = new Uint16Array(height * width).fill(ignoredLabel);
  for (let y = 0; y < map.height; y++)
    labels.set(map.labels.subarray(y * map.width, (y + 1) * map.width), y * width);
  return { width, height, labels };
}
