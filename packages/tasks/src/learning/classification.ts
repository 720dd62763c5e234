import { type Preprocessing, type Normalization, imageNetNormalization } from '@pvt/core';
import { createPvtClassifier, type PvtClassifier } from '@pvt/heads';
import { withNewClassifier } from '@pvt/presets';
import { oneHot, softCrossEntropy } from '@pvt/training';
import * as tf from '@tensorflow/tfjs-core';
import { encode, inputOf, type Learner, type Start } from './learner.ts';

export interface ClassificationLearnerOptions {
  readonly from: Start;
  /** Names of the classes by index. */
  readonly names: readonly string[];
  /** [height, width] of the model's input. */
  readonly size: readonly [height: number, width: number];
  /** ImageNet's where absent. */
  readonly normalize?: Normalization;
  /** Share of each target that is spread over all classes; 0.1 where absent, as PVT was trained. */
  readonly smoothing?: number;
  /** Of a new classifier's numbers. */
  readonly seed?: number;
}

export interface ClassificationLearner extends Learner<number> {
  readonly models: PvtClassifier;
  /** How images have to be prepared for it. */
  readonly preprocessing: Preprocessing;
}

/**
 * A classifier that learns. A classifier of as many classes goes on learning, one of another number starts anew.
 *
 * @throws CheckpointError where the checkpoint does not fit its config
 * @example
 * const learner = createClassificationLearner({ from: await loadCheckpoint('pvt_v2_b0.in1k'), names: ['cat', 'dog'], size: [224, 224] });
 * for await (const event of train(learner.models, { data, loss: learner.loss, optimizer: adamW({ learningRate: 5e-4 }), epochs: 3 })) report(event);
 */
export function createClassificationLearner({
  from,
  names,
  size,
  normalize = imageNetNormalization,
  smoothing = 0.1,
  seed = 0,
}: ClassificationLearnerOptions): ClassificationLearner {
  const classes = names.length;
  const config = { ...from.config, classes };
  const models = createPvtClassifier(
    config,
    from.config.classes === classes ? from.source : withNewClassifier(from.source, seed),
  );
  // As published recipes have it: the shorter side to the size, the middle of the longer one.
  const preprocessing: Preprocessing = {
    resize: { to: { shortSide: Math.max(...size) }, resampling: 'bilinear' },
    crop: size,
    rescale: 1 / 255,
    normalize,
  };
  return {
    models,
    preprocessing,
    loss(batch, context) {
      return tf.tidy(() => {
        const { logits } = models.forward(inputOf(batch), context);
        const targets =
          batch.soft === undefined
            ? oneHot(batch.targets, classes)
            : tf.tensor2d(batch.soft, [batch.shape[0], classes]);
        return softCrossEntropy(logits, targets, { smoothing });
      });
    },
    encode: (weights, dtype) => encode(weights, '', config, { labels: names, preprocessing }, dtype),
    dispose: () => models.dispose(),
  };
}
