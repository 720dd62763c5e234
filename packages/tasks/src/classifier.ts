import { preprocess } from '@pvt/adapter-image';
import { ConfigError, type Picture, type Recipe } from '@pvt/core';
import {
  createPvtClassifier,
  pvtClassifierSpec,
  topGuesses,
  type Guess,
  type PvtClassifier,
} from '@pvt/heads';
import { checkFit, type Checkpoint, type FitReport } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import { toldBy } from './checkpoint.ts';
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
  /** How pictures are prepared; as the checkpoint says where absent. */
  readonly recipe?: Recipe;
  /** Guesses per picture; 5 where absent. */
  readonly top?: number;
}

/** A model made of parts of one's own, and how its pictures are prepared. The task disposes of it. */
export interface ClassifierParts {
  readonly model: PvtClassifier;
  readonly recipe: Recipe;
}

export interface Classifier<S> extends Task {
  readonly model: PvtClassifier;
  /** The best guesses of one picture, or of each of several. */
  classify(picture: S | Picture, options?: RunOptions & { readonly top?: number }): Promise<Guess[]>;
  classify(
    pictures: readonly (S | Picture)[],
    options?: RunOptions & { readonly top?: number },
  ): Promise<Guess[][]>;
}

export async function classifierOn<S>(
  platform: Platform<S>,
  from: CheckpointLike | ClassifierParts,
  options: ClassifierOptions = {},
): Promise<Classifier<S>> {
  const { warmUp = true, batch = 8 } = options;
  let model: PvtClassifier;
  let recipe: Recipe | undefined;
  let names: readonly string[] = options.names ?? [];
  let report: FitReport | undefined;
  if (typeof from === 'object' && 'model' in from && typeof from.model === 'object') {
    ({ model, recipe } = from as ClassifierParts);
  } else {
    const checkpoint = isCheckpoint(from)
      ? from
      : await platform.loadCheckpoint(from as Exclude<typeof from, ClassifierParts | Checkpoint>, options);
    const told = toldBy(checkpoint);
    recipe = options.recipe ?? told.recipe;
    if (recipe === undefined)
      throw new ConfigError(
        'recipe-missing',
        'createClassifier: expected a checkpoint that says how its pictures are prepared, got one that does not; give a recipe.',
      );
    names = options.names ?? told.labels ?? [];
    report = checkFit(pvtClassifierSpec(checkpoint.config), checkpoint);
    model = createPvtClassifier(checkpoint.config, checkpoint.source);
  }
  const prepared = recipe;
  const place = await forwardIn(options.runner, [model], (input) => model.forward(input).logits);
  const run = async (pictures: readonly Picture[], top: number): Promise<Guess[][]> => {
    const logits = await place.run(preprocess(pictures, prepared));
    try {
      return await topGuesses(logits, top, names);
    } finally {
      logits.dispose();
    }
  };
  // Without a size of its own, a recipe brings only pictures of one size to one size.
  const keyOf = ({ width, height }: Picture): string =>
    prepared.crop !== undefined || (prepared.resize && 'size' in prepared.resize.to)
      ? ''
      : `${width}x${height}`;
  const classify = (
    sources: readonly (S | Picture)[],
    { signal, top = options.top ?? 5 }: RunOptions & { readonly top?: number } = {},
  ) =>
    inBatches(
      sources,
      { batch, signal },
      (source) => platform.openPicture(source as S, signal),
      keyOf,
      (pictures) => run(pictures, top),
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
    classify: (async (sources: S | Picture | readonly (S | Picture)[], run?: RunOptions) =>
      Array.isArray(sources)
        ? classify(sources, run)
        : (await classify([sources as S], run))[0]!) as Classifier<S>['classify'],
    dispose: () => place.dispose(),
  };
  return warmed(task, warmUp ? firstRun : undefined);
}
