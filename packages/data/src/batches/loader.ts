import { normalize as normalizeImage } from '@pvt/adapter-image';
import {
  ConfigError,
  createRandom,
  type Preprocessing,
  type Size,
  type InputSize,
  type Placement,
  imageNetNormalization,
  type LabelMap,
} from '@pvt/core';
import type { AugmentStep } from '../augment/augment.ts';
import type { DataSet, Opener, Targets, Task } from '../dataSet.ts';
import { DataError } from '../errors.ts';
import { shuffle } from '../read/divide.ts';
import { checkMix, mix, type Mix } from './mix.ts';
import {
  checkPlan,
  createPreparer,
  inputSize,
  padLabels,
  type Fit,
  type Job,
  type Plan,
  type Prepared,
} from './prepare.ts';

export interface LoaderOptions {
  /** The input's [height, width] in pixels, or bounds within which each batch takes the size of its images. */
  readonly size: Size | InputSize;
  /** Images per batch. */
  readonly batch: number;
  /** `cover` for classification and `letterbox` for the others where absent. */
  readonly fit?: Fit;
  /** Random changes, in their order; none where absent. */
  readonly augment?: readonly AugmentStep[];
  /** Mixup and cutmix, for classification alone. */
  readonly mix?: Mix;
  /** Per channel, after scaling to 0 … 1: (value - mean) / std. ImageNet's where absent. */
  readonly normalize?: NonNullable<Preprocessing['normalize']>;
  /** Gives, with epoch and index, the order and every random change; 0 where absent. */
  readonly seed?: number | string;
  /** Whether an epoch has its own order; true where absent. */
  readonly shuffle?: boolean;
  /** Whether an epoch leaves out its last batch where that is not full; false where absent. */
  readonly dropLast?: boolean;
  /** Batches that are prepared ahead; 2 where absent. */
  readonly prefetch?: number;
  /** Bytes of decoded images that are kept for the next epoch; 256 MiB where absent, 0 keeps none. */
  readonly cacheBytes?: number;
  /** Stops at once, and closes the loader. */
  readonly signal?: AbortSignal;
}

/** Images and their truth, as a model takes them. */
export interface Batch<K extends Task> {
  /** Normalised pixels, padding 0. */
  readonly inputs: Float32Array;
  readonly shape: readonly [batch: number, height: number, width: number, channels: 3];
  /** In the input's pixels; of an evaluation in each image's own. */
  readonly targets: readonly Targets[K][];
  readonly names: readonly string[];
  /** Where each image lies in the input. Of an epoch only `inside` means something: augmentation has cut the way back. */
  readonly placements: readonly Placement[];
  /** [batch, classes], the probability of each class, where `mix` is asked for. */
  readonly soft?: Float32Array;
}

/** Batches of one data set, epoch after epoch. */
export interface Loader<K extends Task> {
  readonly classes: readonly string[];
  /** Images of the data set. */
  readonly samples: number;
  /** Batches of an epoch. */
  readonly length: number;
  /** The batches of an epoch, 0 the first: what is in them depends on seed, epoch and index alone. */
  epoch(epoch: number): AsyncGenerator<Batch<K>, void, undefined>;
  /** Every image once, in the data set's order, unchanged but for its size; targets in the image's own pixels. */
  evaluation(): AsyncGenerator<Batch<K>, void, undefined>;
  /** Ends workers and frees what is kept. */
  close(): Promise<void>;
}

/** Who prepares samples: this thread, or others. */
export interface Runner<K extends Task, Source> {
  run(job: Job<K, Source>): Promise<Prepared<K>>;
  close(reason: unknown): Promise<void>;
}

/** Samples prepared in this thread, each in a promise of its own. */
export function inThread<K extends Task, Source>(plan: Plan, opener: Opener<Source>): Runner<K, Source> {
  const prepare = createPreparer(plan, opener);
  return { run: (job) => prepare(job), close: () => Promise.resolve() };
}

/** Lets an abort overtake a promise. */
function until<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** A loader over whatever runner `start` gives for the plan. */
export function createLoaderWith<K extends Task, Source>(
  data: DataSet<K, Source>,
  options: LoaderOptions,
  start: (plan: Plan) => Runner<K, Source>,
): Loader<K> {
  const {
    size,
    batch,
    fit = data.task === 'classify' ? 'cover' : 'letterbox',
    augment = [],
    mix: mixing,
    normalize = imageNetNormalization,
    seed = 0,
    dropLast = false,
    prefetch = 2,
    cacheBytes = 256 * 2 ** 20,
    signal,
  } = options;
  const count = data.samples.length;
  for (const [field, value, least] of [
    ['batch', batch, 1],
    ['prefetch', prefetch, 0],
    ['cacheBytes', cacheBytes, 0],
  ] as const) {
    if (!Number.isSafeInteger(value) || value < least)
      throw new ConfigError(
        'option-invalid',
        `createLoader: expected ${field} to be an integer from ${least} on, got ${value}; correct it.`,
      );
  }
  if (count === 0)
    throw new DataError(
      'data-empty',
      'createLoader: expected a data set with samples, got none; read another folder.',
    );
  if (mixing && data.task !== 'classify')
    throw new ConfigError(
      'mix-invalid',
      `createLoader: expected mixup and cutmix to classify, got them to ${data.task}; take mix out.`,
    );
  if (mixing) checkMix(mixing);
  const plan: Plan = { size, fit, augment, seed, classes: data.classes.length, cacheBytes };
  checkPlan(data.task, plan);
  const length = dropLast ? Math.floor(count / batch) : Math.ceil(count / batch);
  if (length === 0)
    throw new ConfigError(
      'batch-too-large',
      `createLoader: expected at least one full batch, got ${count} images for batches of ${batch}; lower the batch, or keep the last one.`,
    );

  const closing = new AbortController();
  const runner = start(plan);
  async function close(reason: unknown): Promise<void> {
    if (closing.signal.aborted) return;
    closing.abort(reason);
    await runner.close(reason);
  }
  const stop = () => void close(signal?.reason);
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();

  function assemble(
    indices: readonly number[],
    prepared: readonly Prepared<K>[],
    epoch: number | undefined,
    number: number,
  ): Batch<K> {
    const images = prepared.map(({ image }) => image);
    const [height, width] = inputSize(size, images);
    const shape = [images.length, height, width, 3] as const;
    const inputs = new Float32Array(images.length * height * width * 3);
    images.forEach((image, i) => {
      const values = normalizeImage(image, { rescale: 1 / 255, normalize });
      const row = image.width * 3;
      for (let y = 0; y < image.height; y++)
        inputs.set(values.subarray(y * row, (y + 1) * row), (i * height + y) * width * 3);
    });
    const padded = (target: Targets[K]): Targets[K] =>
      epoch !== undefined && data.task === 'segment'
        ? (padLabels(target as LabelMap, [height, width]) as Targets[K])
        : target;
    const targets = prepared.map(({ target }) => padded(target));
    return {
      inputs,
      shape,
      targets,
      names: indices.map((index) => data.samples[index]!.name),
      placements: prepared.map(({ image, originalSize }) => ({
        contentSize: [image.height, image.width] as const,
        originalSize,
      })),
      ...(mixing &&
        epoch !== undefined && {
          soft: mixed(
            inputs,
            shape,
            targets as readonly number[],
            createRandom(`${seed}/${epoch}/batch ${number}`),
          ),
        }),
    };
  }

  function mixed(
    inputs: Float32Array,
    shape: readonly [number, number, number, number],
    labels: readonly number[],
    random: ReturnType<typeof createRandom>,
  ): Float32Array {
    const soft = new Float32Array(labels.length * data.classes.length);
    labels.forEach((label, i) => (soft[i * data.classes.length + label] = 1));
    mix(inputs, shape, soft, mixing!, random);
    return soft;
  }

  async function* batchesOf(
    order: readonly number[],
    epoch: number | undefined,
  ): AsyncGenerator<Batch<K>, void, undefined> {
    const groups = Array.from({ length: Math.ceil(order.length / batch) }, (_, i) =>
      order.slice(i * batch, (i + 1) * batch),
    );
    // Settled, so that one that fails ahead of its turn waits until then.
    const begun: Promise<PromiseSettledResult<Prepared<K>>[]>[] = [];
    for (const [number, group] of groups.entries()) {
      closing.signal.throwIfAborted();
      for (let i = begun.length; i <= Math.min(number + prefetch, groups.length - 1); i++) {
        begun.push(
          Promise.allSettled(
            groups[i]!.map((index) => runner.run({ index, sample: data.samples[index]!, epoch })),
          ),
        );
      }
      const prepared = (await until(begun[number]!, closing.signal)).map((result) => {
        if (result.status === 'rejected') throw result.reason;
        return result.value;
      });
      // What was handed over is not kept.
      begun[number] = Promise.resolve([]);
      yield assemble(group, prepared, epoch, number);
    }
  }

  return {
    classes: data.classes,
    samples: count,
    length,
    epoch(epoch) {
      if (!Number.isSafeInteger(epoch) || epoch < 0)
        throw new ConfigError(
          'epoch-invalid',
          `epoch: expected a number from 0 on, got ${epoch}; count epochs from 0.`,
        );
      const order = Array.from({ length: count }, (_, i) => i);
      if (options.shuffle ?? true) shuffle(order, createRandom(`${seed}/${epoch}/order`));
      return batchesOf(dropLast ? order.slice(0, length * batch) : order, epoch);
    },
    evaluation: () =>
      batchesOf(
        Array.from({ length: count }, (_, i) => i),
        undefined,
      ),
    close: async () => {
      signal?.removeEventListener('abort', stop);
      await close(
        new DataError(
          'closed',
          'createLoader: expected an open loader, got one that was closed; create it again.',
        ),
      );
    },
  };
}
