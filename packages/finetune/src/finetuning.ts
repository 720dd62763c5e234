import type { InputSize, PvtConfig, Size } from '@pvt/core';
import { createLoader, labelledImages, type Batch, type DataSet, type Loader, type Task } from '@pvt/data';
import type { RunOptions } from '@pvt/tasks';
import {
  adamW,
  layerDecay as decayByLayer,
  parametersOf,
  train,
  warmupCosine,
  type TrainEvent,
  type TrainOptions,
} from '@pvt/training';
import { augmentationFor } from './augmentation.ts';
import { createClassificationLearner } from './classification.ts';
import { anchorScaleFor, createDetectionLearner } from './detection.ts';
import { createEvaluator, type Evaluation, type Evaluator } from './evaluation.ts';
import type { Initialization, Learner, TrainingBatch } from './learner.ts';
import { createSegmentationLearner, type SegmentationHeadName } from './segmentation.ts';

/** Labelled images to train on and to validate with, as `readDataSet` of `@pvt/data` finds them. */
export interface TrainingData<K extends Task> {
  readonly train: DataSet<K>;
  readonly validation: DataSet<K>;
}

export interface FinetuningOptions<K extends Task> {
  readonly task: K;
  readonly init: Initialization;
  readonly data: TrainingData<K>;
  /**
   * Shorter and longer side of the model's input in use. Two equal ones let the longer side of a dense input
   * grow to twice as many pixels. Default: the variant's own size to classify, else 512.
   */
  readonly size?: readonly [shorter: number, longer: number];
  /** [height, width] of the crops in training. Default: `size`, of a dense input in multiples of 32. */
  readonly crop?: Size;
  /** Images per step. Default: 32 to classify, 8 to segment, 4 to detect, or all if there are fewer. */
  readonly batch?: number;
  /** Head of a new segmenter. Default: `unet`. */
  readonly head?: SegmentationHeadName;
  /** Whether images look alike whichever way they are turned, as under a microscope. Default: false. */
  readonly anyOrientation?: boolean;
  /** Seed of new parameters, order and augmentation. Default: 0. */
  readonly seed?: number;
}

/** The options of `train` that fine-tuning leaves open; each replaces its default here. */
export interface FinetuneOptions<K extends Task> extends Partial<
  Omit<TrainOptions<Batch<K>>, 'data' | 'loss' | 'examplesIn' | 'seed'>
> {
  /** Highest learning rate of AdamW. Default: 0.001. */
  readonly learningRate?: number;
  /** The learning rate of each block as a share of the next one's. Default: 0.8. */
  readonly layerDecay?: number;
}

/** A model, the images that it learns from, and the measure of what it has learnt. */
export interface Finetuning<K extends Task> {
  readonly learner: Learner<TrainingBatch<K>>;
  readonly loader: Loader<K>;
  readonly size: readonly [shorter: number, longer: number];
  readonly crop: Size;
  readonly batch: number;
  /** Measures the model, as it is now, on the images to validate with. */
  evaluate(options?: RunOptions): Promise<Evaluation>;
  /**
   * Trains the model: 10 epochs of AdamW with a rate that warms up and falls as a cosine, lower below than
   * above, clipped gradients, and an average of the weights, which is what validation and the best checkpoint
   * see.
   */
  train(options?: FinetuneOptions<K>): AsyncGenerator<TrainEvent, void, undefined>;
  /** Ends the loader's workers and frees the model. */
  close(): Promise<void>;
}

const batchSizes: Readonly<Record<Task, number>> = { classify: 32, segment: 8, detect: 4 };

/**
 * Everything that fine-tuning a classifier, segmenter or detector on labelled images takes.
 *
 * @throws CheckpointError if the initial weights do not fit their config, ConfigError for an impossible
 * option, DataError for a data set without images
 * @example
 * const init = await loadCheckpoint('pvt_v2_b0.in1k');
 * const data = await readDataSet('bccd', 'detect');
 * const finetuning = await createFinetuning({ task: 'detect', init, data, size: [240, 320] });
 * for await (const event of finetuning.train({ epochs: 40 }))
 *   if (event.kind === 'epoch') console.log(event.loss);
 * await finetuning.close();
 */
export async function createFinetuning<K extends Task>(
  options: FinetuningOptions<K>,
): Promise<Finetuning<K>> {
  const { task, init, data, anyOrientation = false, seed = 0 } = options;
  const size = options.size ?? (task === 'classify' ? sidesOf(init.config) : [512, 512]);
  const crop = options.crop ?? (task === 'classify' ? size : roundUpToMultiple(size, 32));
  const batch = Math.min(options.batch ?? batchSizes[task], data.train.samples.length);
  const augment = augmentationFor(task, { size, crop, anyOrientation });
  const loader = createLoader(data.train, { size: crop, augment, batch, seed, dropLast: true });
  const trainable = createTrainable[task]({ ...options, size, crop, seed });
  const { learner, evaluator } = await trainable.catch(async (error: unknown) => {
    await loader.close();
    throw error;
  });
  const evaluate = (run?: RunOptions) => evaluator.evaluate(labelledImages(data.validation), run);
  return {
    learner,
    loader,
    size,
    crop,
    batch,
    evaluate,
    train: ({ learningRate = 1e-3, layerDecay = 0.8, epochs = 10, ...others } = {}) =>
      train(learner.models, {
        data: { length: loader.length, batches: (epoch) => loader.epoch(epoch) },
        loss: (one, context) => learner.loss(one, context),
        examplesIn: ({ shape }) => shape[0],
        optimizer: adamW({ learningRate, groups: decayByLayer(layerDecay, parametersOf(learner.models)) }),
        schedule: warmupCosine(),
        ...(others.minutes === undefined && { epochs }),
        clip: 5,
        average: 0.998,
        seed,
        validate: () => evaluate(),
        // Validation runs on whole images, and should take less time than training does.
        validateEvery: Math.ceil(
          (2 * data.validation.samples.length * area(size)) / (loader.length * batch * area(crop)),
        ),
        ...others,
      }),
    async close() {
      await loader.close();
      learner.dispose();
    },
  };
}

/** A learner, and what measures its model. */
interface Trainable<K extends Task> {
  readonly learner: Learner<TrainingBatch<K>>;
  readonly evaluator: Evaluator<K>;
}

type ResolvedOptions<K extends Task> = FinetuningOptions<K> &
  Required<Pick<FinetuningOptions<K>, 'size' | 'crop' | 'seed'>>;

const createTrainable: {
  readonly [K in Task]: (options: ResolvedOptions<K>) => Promise<Trainable<K>>;
} = {
  async classify({ init, data, crop, seed }) {
    const names = data.train.classes;
    const learner = createClassificationLearner({ init, names, size: crop, seed });
    const { models: model, preprocessing } = learner;
    const parts = { model, preprocessing };
    return { learner, evaluator: await createEvaluator('classify', parts, { names, warmUp: false }) };
  },
  async segment({ init, data, size, head, seed }) {
    const names = data.train.classes;
    const bounds = boundsOf(size);
    const learner = createSegmentationLearner({ init, names, size: bounds, ...(head && { head }), seed });
    const { parts, options } = learner;
    return { learner, evaluator: await createEvaluator('segment', parts, { ...options, warmUp: false }) };
  },
  async detect({ init, data, size, seed }) {
    const names = data.train.classes;
    const bounds = boundsOf(size);
    const anchorScale = anchorScaleFor(objectSides(data.train, bounds));
    const learner = createDetectionLearner({ init, names, size: bounds, anchorScale, seed });
    const { parts, options } = learner;
    return { learner, evaluator: await createEvaluator('detect', parts, { ...options, warmUp: false }) };
  },
};

const area = ([height, width]: Size): number => height * width;

/** Shorter and longer side that a variant was made for. */
const sidesOf = ({ imageSize: [height, width] }: PvtConfig): readonly [shorter: number, longer: number] => [
  Math.min(height, width),
  Math.max(height, width),
];

/** Both sides rounded up to the next multiple. */
const roundUpToMultiple = ([height, width]: Size, multiple: number): Size => [
  Math.ceil(height / multiple) * multiple,
  Math.ceil(width / multiple) * multiple,
];

/** Sides of a dense input for images of any shape. */
const boundsOf = ([shorter, longer]: readonly [number, number]): InputSize => ({
  shortSide: shorter,
  longSide: longer === shorter ? 2 * shorter : longer,
  multiple: 32,
});

/**
 * Square roots of the areas of all objects, in the input's pixels. Images whose size no file says are left
 * out.
 */
function objectSides({ samples }: DataSet<'detect'>, { shortSide, longSide }: InputSize): number[] {
  return samples.flatMap(({ target, size }) => {
    if (size === undefined) return [];
    const scale = Math.min(shortSide / Math.min(...size), longSide / Math.max(...size));
    return target.map(
      ({ box: [left, top, right, bottom] }) => scale * Math.sqrt((right - left) * (bottom - top)),
    );
  });
}
