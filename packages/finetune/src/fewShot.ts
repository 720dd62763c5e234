import { preprocess } from '@pvt/adapter-image';
import {
  createRandom,
  leavesOf,
  scoped,
  type Image,
  type Preprocessing,
  type Pvt,
  type StateDict,
} from '@pvt/core';
import { classificationLoss, createClassificationHead, createPvtClassifier } from '@pvt/heads';
import { checkpointSpec, withNewClassifier, type Checkpoint } from '@pvt/presets';
import { fromStage, type Selection } from '@pvt/training';
import * as tf from '@tensorflow/tfjs-core';
import { encodeWeights, type Learner } from './learner.ts';

export interface FewShotOptions {
  readonly checkpoint: Checkpoint;
  /** The checkpoint's backbone, borrowed. Used if the head alone trains. */
  readonly backbone: Pvt;
  /** How images are prepared. */
  readonly preprocessing: Preprocessing;
  /** Class names by index. */
  readonly names: readonly string[];
  /** All images to learn from, decoded. */
  readonly images: readonly Image[];
  /** Each image's class. */
  readonly labels: readonly number[];
  /** What trains: a new classifier alone (a linear probe), or the backbone's last stage too. */
  readonly trains: 'head' | 'lastStage';
  /** Images per step and per forward pass. Default: 16. */
  readonly batch?: number;
}

/** The `data` of `train`: the indices of a batch's images. */
export interface IndexBatches {
  /** Batches per epoch. */
  readonly length: number;
  batches(epoch: number): Iterable<readonly number[]>;
}

/** A classifier that learns from a few images in memory. A batch is the indices of its images. */
export interface FewShotLearner extends Learner<readonly number[]> {
  /** All images once an epoch, in an order that depends on the epoch alone. */
  readonly data: IndexBatches;
  readonly select: Selection;
  /** A learning rate for AdamW that suits what trains. */
  readonly learningRate: number;
  /** Logits of all images, [N, classes]. The caller frees them. */
  logits(): tf.Tensor2D;
  /** Logits of any image, [1, classes]. The caller frees them. */
  logitsOf(image: Image): tf.Tensor2D;
}

/**
 * A classifier that learns from a few images, fast enough to watch it.
 *
 * @throws CheckpointError if the checkpoint does not fit its config
 * @example
 * const inputs = { preprocessing, names, images, labels };
 * const learner = createFewShotLearner({ checkpoint, backbone, ...inputs, trains: 'head' });
 * const { models, loss, data, select, learningRate } = learner;
 * const run = train(models, { loss, data, select, optimizer: adamW({ learningRate }), epochs: 30 });
 * for await (const event of run) report(event);
 */
export function createFewShotLearner(options: FewShotOptions): FewShotLearner {
  const { checkpoint, preprocessing, names, images, batch = 16 } = options;
  const config = { ...checkpoint.config, classes: names.length };
  return {
    ...(options.trains === 'head' ? headLearner(options) : lastStageLearner(options)),
    data: indexBatches(images.length, batch),
    select: fromStage(config.dims.length),
    encode(weights, dtype = 'F32') {
      // The classifier alone leaves the backbone as the checkpoint has it.
      const all: StateDict = new Map(
        Array.from(leavesOf(checkpointSpec(config)), ([path, leaf]) => [
          path,
          weights.get(path) ?? { shape: leaf.shape, values: checkpoint.source.values(path, leaf) },
        ]),
      );
      // The names that the checkpoint had, because LayerNorm's epsilons go with them.
      const { naming } = checkpoint;
      return encodeWeights(all, { config, naming, header: { labels: names, preprocessing }, dtype });
    },
  };
}

type Part = Pick<FewShotLearner, 'models' | 'learningRate' | 'loss' | 'logits' | 'logitsOf' | 'dispose'>;

/** The backbone runs once per image; a step on its embeddings then takes next to no time. */
function headLearner({
  checkpoint,
  backbone,
  preprocessing,
  names,
  images,
  labels,
  batch = 16,
}: FewShotOptions): Part {
  const last = checkpoint.config.dims.length - 1;
  const head = createClassificationHead(
    { channels: checkpoint.config.dims[last]!, classes: names.length },
    scoped(withNewClassifier(checkpoint.source, 1), 'head'),
  );
  const embed = (some: readonly Image[]) =>
    tf.tidy(() => backbone.forward(preprocess(some, preprocessing), { stages: [last] }).embedding!);
  const embeddings = concatBatches(images, batch, embed);
  return {
    models: { head },
    learningRate: 0.02,
    loss: (indices, context) =>
      classificationLoss(
        head.forward(tf.gather(embeddings, [...indices]), context),
        indices.map((i) => labels[i]!),
      ),
    logits: () => head.forward(embeddings),
    logitsOf: (image) => tf.tidy(() => head.forward(embed([image]))),
    dispose() {
      embeddings.dispose();
      head.dispose();
    },
  };
}

/** Half of the images are mirrored in each step, so that few images go further. */
function lastStageLearner({
  checkpoint,
  preprocessing,
  names,
  images,
  labels,
  batch = 16,
}: FewShotOptions): Part {
  const config = { ...checkpoint.config, classes: names.length };
  const model = createPvtClassifier(config, withNewClassifier(checkpoint.source, 1));
  const logitsOf = (some: readonly Image[]) =>
    tf.tidy(() => model.forward(preprocess(some, preprocessing)).logits);
  return {
    models: model,
    learningRate: 1e-3,
    loss(indices, context) {
      const inputs = indices.map((i) => {
        const input = preprocess([images[i]!], preprocessing);
        return context.random.uniform() < 0.5 ? tf.reverse(input, 2) : input;
      });
      return model.forward(tf.concat(inputs), {
        ...context,
        labels: indices.map((i) => labels[i]!),
        smoothing: 0.05,
      }).loss;
    },
    logits: () => concatBatches(images, batch, logitsOf),
    logitsOf: (image) => logitsOf([image]),
    dispose: () => model.dispose(),
  };
}

/** One result of all images, computed a batch at a time. */
const concatBatches = (
  images: readonly Image[],
  batch: number,
  forward: (some: readonly Image[]) => tf.Tensor2D,
): tf.Tensor2D =>
  tf.tidy(() =>
    tf.concat(
      Array.from({ length: Math.ceil(images.length / batch) }, (_, i) =>
        forward(images.slice(i * batch, (i + 1) * batch)),
      ),
    ),
  );

/** The indices below `count` in batches. */
const indexBatches = (count: number, batch: number): IndexBatches => ({
  length: Math.ceil(count / batch),
  *batches(epoch) {
    const random = createRandom(`order/${epoch}`);
    const order = Array.from({ length: count }, (_, index) => ({ index, key: random.uniform() })).sort(
      (a, b) => a.key - b.key,
    );
    for (let start = 0; start < count; start += batch)
      yield order.slice(start, start + batch).map(({ index }) => index);
  },
});
