import { preprocess } from '@pvt/adapter-image';
import { ConfigError, pvtClassifierSpec, type Image, type Preprocessing } from '@pvt/core';
import { createPvtClassifier, topK, type Prediction, type PvtClassifier } from '@pvt/heads';
import { checkCompatibility, type Checkpoint } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import { runInBatches } from './batches.ts';
import { openImage, type ImageInput } from './image.ts';
import { runAndFree, startRunner } from './runner.ts';
import {
  loadOnce,
  oneOrMany,
  warmUpTask,
  type CheckpointLike,
  type OneOrMany,
  type RunOptions,
  type Task,
  type TaskOptions,
} from './task.ts';

export interface ClassifierOptions extends TaskOptions {
  /** How images are prepared. Default: as the checkpoint says. */
  readonly preprocessing?: Preprocessing;
  /** Predictions per image. Default: 5. */
  readonly top?: number;
}

/** A model of your own and how its images are prepared. The task disposes of the model. */
export interface ClassifierParts {
  readonly model: PvtClassifier;
  readonly preprocessing: Preprocessing;
}

export interface ClassifyOptions extends RunOptions {
  /** Predictions per image. Default: as the classifier's own option says. */
  readonly top?: number;
}

export interface Classifier extends Task {
  readonly model: PvtClassifier;
  /** How images are prepared. */
  readonly preprocessing: Preprocessing;
  /** The most probable classes of one image, or of each of several, best first. */
  readonly classify: OneOrMany<ImageInput, ClassifyOptions, Prediction[]>;
  /**
   * The logits [B, classes] of one image, or of prepared images [B, height, width, channels]. The input is
   * borrowed, the logits are the caller's.
   */
  forward(input: ImageInput | tf.Tensor4D): Promise<{ readonly logits: tf.Tensor2D }>;
}

/**
 * A classifier: the class names of an image with their probabilities, best first. The checkpoint may be a
 * published name, a hub repository, a URL, a File, bytes, under Node a path, or one that is loaded already;
 * or pass a model of your own with its preprocessing.
 *
 * @throws ConfigError `preprocessing-missing` if neither the checkpoint nor the options say how images are
 * prepared; what `loadCheckpoint` and `readImage` throw; the signal's reason after an abort
 * @example
 * const classifier = await createClassifier('pvt_v2_b2.in1k');
 * const [best] = await classifier.classify(image);
 * classifier.dispose();
 */
export async function createClassifier(
  from: CheckpointLike | ClassifierParts,
  options: ClassifierOptions = {},
): Promise<Classifier> {
  const { names = [], ...parts } = isParts(from)
    ? { ...from, names: options.names }
    : readClassifier(await loadOnce(from, options), options);
  const { model, preprocessing } = parts;
  const runner = await startRunner(
    { forward: (input) => model.forward(input).logits, dispose: () => model.dispose() },
    options.runner,
  );

  const predict = async (images: readonly Image[], top: number): Promise<Prediction[][]> => {
    const logits = await runAndFree(runner, preprocess(images, preprocessing));
    try {
      return await topK(logits, top, names);
    } finally {
      logits.dispose();
    }
  };
  const classifier: Classifier = {
    ...parts,
    names,
    classify: oneOrMany((images, { signal, top = options.top ?? 5 }: ClassifyOptions = {}) =>
      runInBatches(
        images,
        { batch: options.batch ?? 8, signal },
        {
          prepare: (image: ImageInput) => openImage(image, signal),
          keyOf: (image) => (fixedSize(preprocessing) ? '' : `${image.width}x${image.height}`),
          run: (some) => predict(some, top),
        },
      ),
    ),
    async forward(input) {
      if (input instanceof tf.Tensor) return { logits: await runner.run(input) };
      const image = await openImage(input);
      return { logits: await runAndFree(runner, preprocess(image, preprocessing)) };
    },
    dispose: () => runner.dispose(),
  };
  if (options.warmUp ?? true)
    await warmUpTask(classifier, async () => {
      const [height, width] = fixedSize(preprocessing) ?? model.config.imageSize;
      const logits = await runAndFree(runner, tf.zeros([1, height, width, model.config.channels]));
      await logits.data();
      logits.dispose();
    });
  return classifier;
}

const isParts = (from: CheckpointLike | ClassifierParts): from is ClassifierParts =>
  typeof from === 'object' && 'model' in from && typeof from.model === 'object';

function readClassifier(checkpoint: Checkpoint, options: ClassifierOptions) {
  const preprocessing = options.preprocessing ?? checkpoint.preprocessing;
  if (preprocessing === undefined)
    throw new ConfigError(
      'preprocessing-missing',
      'createClassifier: expected a checkpoint that says how its images are prepared, ' +
        'got one that does not; pass options.preprocessing.',
    );
  return {
    names: options.names ?? checkpoint.labels,
    preprocessing,
    report: checkCompatibility(pvtClassifierSpec(checkpoint.config), checkpoint),
    model: createPvtClassifier(checkpoint.config, checkpoint.source),
  };
}

/** The [height, width] that preprocessing brings images of any size to, if it does. */
function fixedSize({ crop, resize }: Preprocessing): readonly [height: number, width: number] | undefined {
  if (crop !== undefined) return crop;
  return resize !== undefined && 'size' in resize.to ? resize.to.size : undefined;
}
