import type { DenseInput } from '@pvt/adapter-image';
import {
  ConfigError,
  createRandom,
  imageNetNormalization,
  type InputSize,
  type LabelMap,
  type Normalization,
  type Placement,
  type Size,
} from '@pvt/core';
import type { AugmentStep } from '../augment/augment.ts';
import type { DataSet, SourceReader, Targets, Task } from '../dataSet.ts';
import { DataError } from '../errors.ts';
import { shuffle } from '../read/splits.ts';
import { checkMix, mix, type MixOptions } from './mix.ts';
import {
  checkPrepareOptions,
  createPreparer,
  padLabels,
  type PreparedSample,
  type PrepareOptions,
  type ResizeMode,
  type SampleRequest,
} from './prepare.ts';

export interface LoaderOptions {
  /** The input's [height, width] in pixels, or bounds; each batch then has the size of its largest images. */
  readonly size: Size | InputSize;
  /** Images per batch. */
  readonly batch: number;
  /** Default: `crop` to classify, `letterbox` to segment and detect. */
  readonly resizeMode?: ResizeMode;
  /** Random changes, in their order. Default: none. */
  readonly augment?: readonly AugmentStep[];
  /** Mixup and cutmix, to classify only. */
  readonly mix?: MixOptions;
  /** Per channel, after scaling to [0, 1]: (value - mean) / std. Default: ImageNet's. */
  readonly normalize?: Normalization;
  /** Determines, with epoch and index, the order and every random change. Default: 0. */
  readonly seed?: number | string;
  /** Whether each epoch has an order of its own. Default: true. */
  readonly shuffle?: boolean;
  /** Whether an epoch omits its last batch if that is not full. Default: false. */
  readonly dropLast?: boolean;
  /** Batches that are prepared ahead. Default: 2. */
  readonly prefetch?: number;
  /** Most bytes of decoded images to cache for the next epoch; 0 caches none. Default: 256 MiB. */
  readonly cacheBytes?: number;
  /**
   * In Node, threads that prepare images; 0 uses the calling thread. Default: one less than the machine's
   * cores, but 1 to 4. A browser has none.
   */
  readonly workers?: number;
  /** Stops at once, and closes the loader. */
  readonly signal?: AbortSignal;
}

/** Images and their targets, as a model takes them. */
export interface Batch<K extends Task> {
  /** Normalized pixels; padding is 0. */
  readonly inputs: Float32Array;
  readonly shape: readonly [batch: number, height: number, width: number, channels: 3];
  /** In the input's pixels; in evaluation in each image's own. */
  readonly targets: readonly Targets[K][];
  readonly names: readonly string[];
  /**
   * Where each image lies in the input. Augmented images have no way back, so in an epoch only `contentSize`
   * is meaningful.
   */
  readonly placements: readonly Placement[];
  /** [batch, classes], the probability of each class, with `mix`. */
  readonly soft?: Float32Array;
}

/** Batches of one data set, epoch after epoch. */
export interface Loader<K extends Task> {
  readonly classes: readonly string[];
  /** Images of the data set. */
  readonly samples: number;
  /** Batches per epoch. */
  readonly length: number;
  /** The batches of an epoch, counted from 0. They depend on seed, epoch and index alone. */
  epoch(epoch: number): AsyncGenerator<Batch<K>, void, undefined>;
  /**
   * Every image once, in the data set's order and without augmentation; targets are in the image's own
   * pixels.
   */
  evaluation(): AsyncGenerator<Batch<K>, void, undefined>;
  /** Ends workers and frees the cache. */
  close(): Promise<void>;
}

/** Prepares samples on this thread or on others. */
export interface SamplePreparer<K extends Task, Source> {
  run(request: SampleRequest<K, Source>): Promise<PreparedSample<K>>;
  close(reason: unknown): Promise<void>;
}

/** Prepares samples on the calling thread. */
export function prepareInThread<K extends Task, Source>(
  options: PrepareOptions,
  reader: SourceReader<Source>,
): SamplePreparer<K, Source> {
  const prepare = createPreparer(options, reader);
  return {
    run: (request) => prepare(request) as Promise<PreparedSample<K>>,
    close: () => Promise.resolve(),
  };
}

/** Options with their defaults. */
type Settings = ReturnType<typeof withDefaults>;

function withDefaults(task: Task, options: LoaderOptions) {
  const {
    size,
    batch,
    resizeMode = task === 'classify' ? 'crop' : 'letterbox',
    augment = [],
    mix: mixOptions,
    normalize = imageNetNormalization,
    seed = 0,
    shuffle: shuffled = true,
    dropLast = false,
    prefetch = 2,
    cacheBytes = 256 * 2 ** 20,
    signal,
  } = options;
  return {
    size,
    batch,
    resizeMode,
    augment,
    mixOptions,
    normalize,
    seed,
    shuffled,
    dropLast,
    prefetch,
    cacheBytes,
    signal,
  };
}

/** @throws ConfigError for invalid options, DataError for a data set without samples */
function checkSettings<K extends Task, Source>(
  { task, samples }: DataSet<K, Source>,
  settings: Settings,
): void {
  const { batch, prefetch, cacheBytes, dropLast, mixOptions } = settings;
  for (const [field, value, least] of [
    ['batch', batch, 1],
    ['prefetch', prefetch, 0],
    ['cacheBytes', cacheBytes, 0],
  ] as const) {
    if (!Number.isSafeInteger(value) || value < least)
      throw new ConfigError(
        'option-invalid',
        `createLoader: expected ${field} to be an integer of at least ${least}, got ${value}; correct it.`,
      );
  }
  if (samples.length === 0)
    throw new DataError(
      'data-empty',
      'createLoader: expected a data set with samples, got none; read another folder.',
    );
  if (mixOptions && task !== 'classify')
    throw new ConfigError(
      'mix-invalid',
      `createLoader: expected mixup and cutmix to classify, got them to ${task}; remove mix.`,
    );
  if (mixOptions) checkMix(mixOptions);
  checkPrepareOptions(task, settings);
  if (dropLast && samples.length < batch)
    throw new ConfigError(
      'batch-too-large',
      'createLoader: expected at least one full batch, ' +
        `got ${samples.length} images for batches of ${batch}; ` +
        'lower the batch, or set dropLast to false.',
    );
}

/** A preparer that an abort or a call of `close` ends, together with all that waits for it. */
function closable<K extends Task, Source>(
  preparer: SamplePreparer<K, Source>,
  signal: AbortSignal | undefined,
) {
  const closing = new AbortController();
  async function close(reason: unknown): Promise<void> {
    signal?.removeEventListener('abort', onAbort);
    if (closing.signal.aborted) return;
    closing.abort(reason);
    await preparer.close(reason);
  }
  const onAbort = () => void close(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  return { run: preparer.run, close, signal: closing.signal };
}

/** Rejects on an abort, even while the promise is pending. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Prepared groups of samples, in order, of which `prefetch` are prepared ahead. */
async function* preparedGroups<K extends Task>(
  groups: readonly (readonly number[])[],
  prefetch: number,
  prepare: (index: number) => Promise<PreparedSample<K>>,
  signal: AbortSignal,
): AsyncGenerator<readonly PreparedSample<K>[], void, undefined> {
  // Settled, so that a group that fails ahead of its turn is reported at its turn.
  const started: Promise<PromiseSettledResult<PreparedSample<K>>[]>[] = [];
  for (const number of groups.keys()) {
    signal.throwIfAborted();
    while (started.length <= Math.min(number + prefetch, groups.length - 1))
      started.push(Promise.allSettled(groups[started.length]!.map(prepare)));
    const results = await abortable(started[number]!, signal);
    // Yielded groups are not retained.
    started[number] = Promise.resolve([]);
    yield results.map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  }
}

/** The size of a batch: the largest of its inputs. */
const batchSize = (inputs: readonly DenseInput[]): Size => [
  Math.max(...inputs.map(({ size }) => size[0])),
  Math.max(...inputs.map(({ size }) => size[1])),
];

/** Inputs in one array, padded right and below to [height, width]. */
function stackInputs(inputs: readonly DenseInput[], [height, width]: Size): Float32Array {
  const stacked = new Float32Array(inputs.length * height * width * 3);
  for (const [i, { values, size }] of inputs.entries()) {
    const row = size[1] * 3;
    for (let y = 0; y < size[0]; y++)
      stacked.set(values.subarray(y * row, (y + 1) * row), (i * height + y) * width * 3);
  }
  return stacked;
}

/** Class probabilities of a batch whose inputs are mixed in place. */
function mixBatch(
  inputs: Float32Array,
  shape: Batch<'classify'>['shape'],
  labels: readonly number[],
  classes: number,
  options: MixOptions,
  seed: string,
): Float32Array {
  const soft = new Float32Array(labels.length * classes);
  labels.forEach((label, i) => (soft[i * classes + label] = 1));
  mix(inputs, shape, soft, options, createRandom(seed));
  return soft;
}

/** One batch of prepared samples; of an epoch, unless `epoch` is undefined. */
function assemble<K extends Task, Source>(
  data: DataSet<K, Source>,
  { mixOptions, seed }: Settings,
  prepared: readonly PreparedSample<K>[],
  {
    indices,
    epoch,
    number,
  }: {
    readonly indices: readonly number[];
    readonly epoch: number | undefined;
    readonly number: number;
  },
): Batch<K> {
  const [height, width] = batchSize(prepared.map(({ input }) => input));
  const shape = [prepared.length, height, width, 3] as const;
  const inputs = stackInputs(
    prepared.map(({ input }) => input),
    [height, width],
  );
  const padded = data.task === 'segment' && epoch !== undefined;
  const targets = prepared.map(({ target }) =>
    padded ? (padLabels(target as LabelMap, [height, width]) as Targets[K]) : target,
  );
  const batch: Batch<K> = {
    inputs,
    shape,
    targets,
    names: indices.map((index) => data.samples[index]!.name),
    placements: prepared.map(({ input }) => input.placement),
  };
  if (mixOptions === undefined || epoch === undefined) return batch;
  const labels = targets as readonly number[];
  const mixSeed = `${seed}/${epoch}/batch ${number}`;
  return { ...batch, soft: mixBatch(inputs, shape, labels, data.classes.length, mixOptions, mixSeed) };
}

/** A loader on the preparer that `start` returns. */
export function createLoaderWith<K extends Task, Source>(
  data: DataSet<K, Source>,
  options: LoaderOptions,
  start: (options: PrepareOptions) => SamplePreparer<K, Source>,
): Loader<K> {
  const settings = withDefaults(data.task, options);
  checkSettings(data, settings);
  const { size, batch, resizeMode, augment, normalize, seed, dropLast, prefetch, cacheBytes } = settings;
  const classes = data.classes.length;
  const preparer = closable(
    start({ size, resizeMode, augment, normalize, seed, classes, cacheBytes }),
    settings.signal,
  );
  const count = data.samples.length;
  const length = dropLast ? Math.floor(count / batch) : Math.ceil(count / batch);
  const inOrder = () => Array.from({ length: count }, (_, index) => index);

  async function* batchesOf(
    order: readonly number[],
    epoch: number | undefined,
  ): AsyncGenerator<Batch<K>, void, undefined> {
    const groups = Array.from({ length: Math.ceil(order.length / batch) }, (_, i) =>
      order.slice(i * batch, (i + 1) * batch),
    );
    const prepare = (index: number) => preparer.run({ index, sample: data.samples[index]!, epoch });
    let number = 0;
    for await (const prepared of preparedGroups(groups, prefetch, prepare, preparer.signal)) {
      yield assemble(data, settings, prepared, { indices: groups[number]!, epoch, number });
      number++;
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
          `epoch: expected an integer of at least 0, got ${epoch}; count epochs from 0.`,
        );
      const order = inOrder();
      if (settings.shuffled) shuffle(order, createRandom(`${seed}/${epoch}/order`));
      return batchesOf(dropLast ? order.slice(0, length * batch) : order, epoch);
    },
    evaluation: () => batchesOf(inOrder(), undefined),
    close: () =>
      preparer.close(
        new DataError(
          'closed',
          'createLoader: expected an open loader, got one that was closed; create it again.',
        ),
      ),
  };
}
