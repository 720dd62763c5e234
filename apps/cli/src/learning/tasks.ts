import { fileURLToPath } from 'node:url';
import { checkpoints } from '@pvt/checkpoints';
import { pvtConfig, type PvtConfig, type PvtConfigInput, type InputSize } from '@pvt/core';
import type { AugmentStep, DataSet, LoaderOptions, Targets, Task } from '@pvt/data';
import type {
  LearningBatch,
  Learner,
  Evaluation,
  Start,
  LabelledImage,
  SegmentationHeadName,
} from '@pvt/tasks/learning';
import type { ModelName } from '@pvt/presets';
import { fetchFiles } from '../fetch.ts';
import type { Io } from '../io.ts';
import { presetOf } from '../model.ts';

const embedded = checkpoints['pvt_v2_nano.cifar10'];

/** What a command line says of a model that learns. */
export interface LearningOptions {
  /** Shorter and longer side of the model's input; one number twice for a square. */
  readonly size: readonly [shorter: number, longer: number];
  /** Sides of the crops that it is trained with. */
  readonly crop: readonly [height: number, width: number];
  readonly head?: SegmentationHeadName;
  /** Whether images may be turned any way. */
  readonly turn: boolean;
  readonly seed: number;
}

/** A task's model, how it is fed, and how it is measured. */
export interface LearningTask<K extends Task = Task> {
  readonly learner: Learner<never>;
  readonly loader: Pick<LoaderOptions, 'size' | 'resizeMode' | 'augment'>;
  /** What the model's input is now, in words. */
  readonly input: string;
  evaluate(truths: AsyncIterable<LabelledImage<Targets[K]>>, signal?: AbortSignal): Promise<Evaluation>;
}

/** A batch of `@pvt/data` is one of `@pvt/tasks`. */
export const asBatch = (batch: {
  readonly inputs: Float32Array;
  readonly shape: readonly [number, number, number, number];
  readonly targets: readonly unknown[];
}): LearningBatch<never> => batch as LearningBatch<never>;

/** Sides of an input for images of any shape. */
const bounds = ([shorter, longer]: readonly [number, number]): InputSize => ({
  shortSide: shorter,
  longSide: longer === shorter ? 2 * shorter : longer,
  multiple: 32,
});

const turns: readonly AugmentStep[] = [{ kind: 'rotate90' }, { kind: 'flip', horizontal: 0.5 }];
const mirror: readonly AugmentStep[] = [{ kind: 'flip', horizontal: 0.5 }];
const colour: AugmentStep = {
  kind: 'colorJitter',
  brightness: 0.2,
  contrast: 0.2,
  saturation: 0.2,
  hue: 0.02,
};

/** Factors that an image is scaled by before it is cropped, where 1 makes it fit the crop. */
function scales(
  [shorter]: readonly [number, number],
  [height, width]: readonly [number, number],
  [least, most]: readonly [number, number],
): [number, number] {
  const whole = shorter / Math.min(height, width);
  return [whole * least, whole * most];
}

/** Each task's learner over a start, with the augmentation that published recipes of its kind have. */
export async function createLearningTask(
  task: Task,
  start: Start,
  data: DataSet<Task>,
  options: LearningOptions,
): Promise<LearningTask<never>> {
  const {
    createClassificationLearner,
    createDetectionLearner,
    createSegmentationLearner,
    anchorScaleFor,
    evaluateClassifier,
    evaluateDetector,
    evaluateSegmenter,
  } = await import('@pvt/tasks/learning');
  const { createClassifier, createDetector, createSegmenter } = await import('@pvt/tasks/node');
  const { size, crop, head, turn, seed } = options;
  const common = { from: start, names: data.classes, seed };
  const around = turn ? turns : mirror;
  if (task === 'classify') {
    const learner = createClassificationLearner({ ...common, size: crop });
    const classifier = await createClassifier(
      { model: learner.models, preprocessing: learner.preprocessing },
      { names: data.classes, warmUp: false },
    );
    return {
      learner,
      loader: {
        size: crop,
        augment: [
          ...around,
          { kind: 'resizedCrop', area: [0.5, 1] },
          colour,
          { kind: 'erase', probability: 0.1 },
        ],
      },
      input: crop.join('x'),
      evaluate: (truths: AsyncIterable<LabelledImage<number>>, signal?: AbortSignal) =>
        evaluateClassifier(classifier, truths, signal && { signal }),
    };
  }
  const sides = bounds(size);
  const input = `shorter side ${sides.shortSide}`;
  if (task === 'segment') {
    const learner = createSegmentationLearner({ ...common, size: sides, ...(head && { head }) });
    const segmenter = await createSegmenter(learner.parts, { ...learner.options, warmUp: false });
    return {
      learner,
      loader: {
        size: crop,
        augment: [...around, { kind: 'scaledCrop', scale: scales(size, crop, [0.75, 1.5]) }, colour],
      },
      input,
      evaluate: (truths: AsyncIterable<LabelledImage<Targets['segment']>>, signal?: AbortSignal) =>
        evaluateSegmenter(segmenter, truths, signal && { signal }),
    };
  }
  const learner = createDetectionLearner({
    ...common,
    size: sides,
    anchorScale: anchorScaleFor(await objectSides(data as DataSet<'detect'>, sides)),
  });
  const detector = await createDetector(learner.parts, { ...learner.options, warmUp: false });
  return {
    learner,
    loader: {
      size: crop,
      augment: [
        ...around,
        { kind: 'scaledCrop', scale: scales(size, crop, [0.8, 1.25]), minVisibility: 0.4 },
        colour,
      ],
    },
    input,
    evaluate: (truths: AsyncIterable<LabelledImage<Targets['detect']>>, signal?: AbortSignal) =>
      evaluateDetector(detector, truths, signal && { signal }),
  };
}

/** Square roots of the areas of all objects, in the input's pixels. */
async function objectSides(
  { samples }: DataSet<'detect'>,
  { shortSide, longSide }: InputSize,
): Promise<number[]> {
  const sides: number[] = [];
  for (const { target, size } of samples) {
    if (size === undefined) continue;
    const scale = Math.min(shortSide / Math.min(...size), longSide / Math.max(...size));
    for (const {
      box: [left, top, right, bottom],
    } of target)
      sides.push(scale * Math.sqrt((right - left) * (bottom - top)));
  }
  return sides;
}

/** Sides that a variant was made for. */
export const sidesOf = ({ imageSize: [height, width] }: PvtConfig): readonly [number, number] => [
  Math.min(height, width),
  Math.max(height, width),
];

/** What a model begins with: `--weights`, the embedded ones of the variant, or random numbers. */
export async function startOf(
  {
    model,
    weights,
    scratch,
    seed,
  }: { readonly model?: string; readonly weights?: string; readonly scratch?: true; readonly seed: number },
  task: Task,
  classes: number,
  io: Io,
): Promise<{ readonly start: Start; readonly title: string }> {
  const { openCheckpoint } = await import('@pvt/presets');
  const { fromScratch } = await import('@pvt/tasks/learning');
  if (scratch) {
    const config = pvtConfig<PvtConfigInput>({
      ...presetOf(model!).config,
      classes: task === 'classify' ? classes : 0,
    });
    return { start: fromScratch(config, seed), title: `${model} from random numbers` };
  }
  const path = weights ?? fileURLToPath(embedded.url);
  const checkpoint = await openCheckpoint(await fetchFiles(path, io), {
    ...(model !== undefined && { config: model as ModelName }),
    ...(task === 'classify' ? { classes, seed } : { classes: 0 }),
  });
  return {
    start: checkpoint,
    title: `${checkpoint.model ?? `PVT ${checkpoint.config.version}`} from ${weights ?? 'its embedded weights'}`,
  };
}
