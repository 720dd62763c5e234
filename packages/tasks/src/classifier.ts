import { preprocess } from '@pvt/adapter-image';
import { ConfigError, pvtClassifierSpec, type Image, type Preprocessing } from '@pvt/core';
import { createPvtClassifier, topK, type Prediction, type PvtClassifier } from '@pvt/heads';
import { checkFit, type Checkpoint, type FitReport } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import { readHeader } from './checkpoint.ts';
import {
  forwardIn,
  inBatches,
  isCheckpoint,
  warmed,
  type CheckpointLike,
  type Platform,
  type RunOptions,
  type Task,
  type TaskOptions,
} from './task.ts';

export interface ClassifierOptions extends TaskOptions {
  /** How images are prepared; as the checkpoint says where absent. */
  readonly preprocessing?: Preprocessing;
  /** Guesses per image; 5 where absent. */
  readonly top?: number;
}

/** A model made of parts of one's own, and how its images are prepared. The task disposes of it. */
export interface ClassifierParts {
  readonly model: PvtClassifier;
  readonly preprocessing: Preprocessing;
}

export interface Classifier<S> extends Task {
  readonly model: PvtClassifier;
  /** The best guesses of one image, or of each of several. */
  classify(image: S | Image, options?: RunOptions & { readonly top?: number }): Promise<Prediction[]>;
  classify(
    images: readonly (S | Image)[],
    options?: RunOptions & { readonly top?: number },
  ): Promise<Prediction[][]>;
}

export async function classifierOn<S>(
  platform: Platform<S>,
  from: CheckpointLike | ClassifierParts,
  options: ClassifierOptions = {},
): Promise<Classifier<S>> {
  const { warmUp = true, batch = 8 } = options;
  let model: PvtClassifier;
  let preprocessing: Preprocessing | undefined;
  let names: readonly string[] = options.names ?? [];
  let report: FitReport | undefined;
  if (typeof from === 'object' && 'model' in from && typeof from.model === 'object') {
    ({ model, preprocessing } = from as ClassifierParts);
  } else {
    const checkpoint = isCheckpoint(from)
      ? from
      : await platform.loadCheckpoint(from as Exclude<typeof from, ClassifierParts | Checkpoint>, options);
    const told = readHeader(checkpoint);
    preprocessing = options.preprocessing ?? told.preprocessing;
    if (preprocessing === undefined)
      throw new ConfigError(
        'preprocessing-missing',
        'createClassifier: expected a checkpoint that says how its images are prepared, got one that does not; give a recipe.',
      );
    names = options.names ?? told.labels ?? [];
    report = checkFit(pvtClassifierSpec(checkpoint.config), checkpoint);
    model = createPvtClassifier(checkpoint.config, checkpoint.source);
  }
  const prepared = preprocessing;
  const place = await forwardIn(options.runner, [model], (input) => model.forward(input).logits);
  const run = async (images: readonly Image[], top: number): Promise<Prediction[][]> => {
    const logits = await place.run(preprocess(images, prepared));
    try {
      return await topK(logits, top, names);
    } finally {
      logits.dispose();
    }
  };
  // Without a size of its own, a recipe brings only images of one size to one size.
  const keyOf = ({ width, height }: Image): string =>
    prepared.crop !== undefined || (prepared.resize && 'size' in prepared.resize.to)
      ? ''
      : `${width}x${height}`;
  const classify = (
    sources: readonly (S | Image)[],
    { signal, top = options.top ?? 5 }: RunOptions & { readonly top?: number } = {},
  ) =>
    inBatches(
      sources,
      { batch, signal },
      (source) => platform.openImage(source as S, signal),
      keyOf,
      (images) => run(images, top),
    );
  const firstRun = async () => {
    const [height, width] =
      prepared.crop ??
      (prepared.resize && 'size' in prepared.resize.to ? prepared.resize.to.size : model.config.imageSize);
    const logits = await place.run(tf.zeros([1, height, width, model.config.channels]));
    await logits.data();
    logits.dispose();
  };
  const task: Classifier<S> = {
    model,
    names,
    ...(report && { report }),
    classify: (async (sources: S | Image | readonly (S | Image)[], run?: RunOptions) =>
      Array.isArray(sources)
        ? classify(sources, run)
        : (await classify([sources as S], run))[0]!) as Classifier<S>['classify'],
    dispose: () => place.dispose(),
  };
  return warmed(task, warmUp ? firstRun : undefined);
}
