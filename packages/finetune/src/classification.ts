import { imageNetNormalization, type Normalization, type Preprocessing, type Size } from '@pvt/core';
import { createPvtClassifier, type PvtClassifier } from '@pvt/heads';
import { withNewClassifier } from '@pvt/presets';
import { oneHot, softCrossEntropy } from '@pvt/training';
import * as tf from '@tensorflow/tfjs-core';
import { encodeWeights, inputOf, type Initialization, type Learner, type TrainingBatch } from './learner.ts';

export interface ClassificationLearnerOptions {
  readonly init: Initialization;
  /** Class names by index. */
  readonly names: readonly string[];
  /** [height, width] of the model's input. */
  readonly size: Size;
  /** Default: ImageNet's mean and standard deviation. */
  readonly normalize?: Normalization;
  /** Share of each target that is spread over all classes. Default: 0.1, as PVT was trained. */
  readonly smoothing?: number;
  /** Seed of a new classifier's parameters. Default: 0. */
  readonly seed?: number;
}

export interface ClassificationLearner extends Learner<TrainingBatch<'classify'>> {
  readonly models: PvtClassifier;
  /** How images have to be prepared for the model. */
  readonly preprocessing: Preprocessing;
}

/**
 * A classifier that learns. It starts from the initial classifier if that has as many classes, else from a
 * new one.
 *
 * @throws CheckpointError if the initial weights do not fit their config
 * @example
 * const init = await loadCheckpoint('pvt_v2_b0.in1k');
 * const learner = createClassificationLearner({ init, names: ['cat', 'dog'], size: [224, 224] });
 */
export function createClassificationLearner({
  init,
  names,
  size,
  normalize = imageNetNormalization,
  smoothing = 0.1,
  seed = 0,
}: ClassificationLearnerOptions): ClassificationLearner {
  const classes = names.length;
  const config = { ...init.config, classes };
  const source = init.config.classes === classes ? init.source : withNewClassifier(init.source, seed);
  const model = createPvtClassifier(config, source);
  // As published evaluations do it: the shorter side to the input's, then the middle of the longer side.
  const preprocessing: Preprocessing = {
    resize: { to: { shortSide: Math.max(...size) }, resampling: 'bilinear' },
    crop: size,
    rescale: 1 / 255,
    normalize,
  };
  return {
    models: model,
    preprocessing,
    loss: (batch, context) =>
      tf.tidy(() => {
        const { logits } = model.forward(inputOf(batch), context);
        return softCrossEntropy(logits, targetsOf(batch, classes), { smoothing });
      }),
    encode: (weights, dtype = 'F32') =>
      encodeWeights(weights, { config, header: { labels: names, preprocessing }, dtype }),
    dispose: () => model.dispose(),
  };
}

/** Each image's share of every class, [batch, classes]. */
const targetsOf = ({ targets, soft, shape }: TrainingBatch<'classify'>, classes: number): tf.Tensor2D =>
  soft === undefined ? oneHot(targets, classes) : tf.tensor2d(soft, [shape[0], classes]);
