import { preprocess } from '@pvt/adapter-image';
import {
  createPvt,
  createRandom,
  leavesOf,
  scoped,
  type Image,
  type Pvt,
  type PvtConfig,
  type Preprocessing,
  type StateDict,
  type TrainingContext,
} from '@pvt/core';
import { classificationLoss, createClassificationHead, createPvtClassifier, topK } from '@pvt/heads';
import {
  checkpointSpec,
  fromCanonical,
  fromFloat32,
  withNewClassifier,
  writeSafetensors,
  type Checkpoint,
} from '@pvt/presets';
import {
  adamW,
  fromStage,
  readStateDict,
  stateEntries,
  train,
  warmupCosine,
  type Models,
  type Snapshot,
  type TrainingData,
} from '@pvt/training';
import * as tf from '@tensorflow/tfjs-core';
import type { Guess, Tuned, TuneProgress, TuneRequest } from '../protocol.ts';

const batchSize = 16;
/** Milliseconds between two words to the page. */
const wordEvery = 100;
/** Seconds between two snapshots. */
const snapshotEvery = 3;

/** What learns: images go by their place in the visitor's list. */
interface Learner {
  readonly models: Models;
  readonly learningRate: number;
  /** Epochs between two looks at how many are right. */
  readonly validateEvery: number;
  loss(items: readonly number[], context: TrainingContext): tf.Scalar;
  /** Of all images, [N, classes]. */
  logits(): tf.Tensor2D;
  /** Of any image, [1, classes]. */
  logitsOf(image: Image): tf.Tensor2D;
  dispose(): void;
}

/** A backbone from a checkpoint that learns the visitor's classes from a few images. */
export class Tuner {
  readonly backbone: Pvt;
  readonly #checkpoint: Checkpoint;
  readonly #recipe: Preprocessing;
  #running: { readonly learner: Learner; readonly names: readonly string[] } | undefined;
  #stop = new AbortController();

  constructor(checkpoint: Checkpoint, preprocessing: Preprocessing) {
    this.#checkpoint = checkpoint;
    this.#recipe = preprocessing;
    this.backbone = createPvt({ ...checkpoint.config, classes: 0 }, checkpoint.source);
  }

  /** Ends the run after its current step; what it has reached is kept. */
  stop(): void {
    this.#stop.abort();
  }

  async train(
    { names, examples, trains, epochs, resume }: TuneRequest,
    images: readonly Image[],
    tell: (progress: TuneProgress) => void,
  ): Promise<Tuned> {
    this.#stop = new AbortController();
    const config: PvtConfig = { ...this.#checkpoint.config, classes: names.length };
    const labels = examples.map(({ label }) => label);
    const learner =
      trains === 'head' ? this.#head(config, images, labels) : this.#lastStage(config, images, labels);
    const countRight = async (): Promise<number> => {
      const logits = learner.logits();
      const best = tf.argMax(logits, 1);
      const found = await best.data();
      tf.dispose([logits, best]);
      return labels.filter((label, i) => found[i] === label).length;
    };
    let losses: number[] = [];
    let [told, done, secondsLeft] = [0, 0, 0];
    const say = (more: Partial<TuneProgress> = {}): void => {
      tell({ losses, done, secondsLeft, ...more });
      losses = [];
      told = performance.now();
    };
    this.#running = { learner, names };
    try {
      let ended = { steps: 0, seconds: 0, reason: '' };
      const run = train(learner.models, {
        data: batchesOf(images.length),
        loss: (items, context) => learner.loss(items, context),
        select: fromStage(config.dims.length),
        optimizer: adamW({ learningRate: learner.learningRate }),
        schedule: warmupCosine(),
        epochs,
        clip: 1,
        signal: this.#stop.signal,
        validate: async () => ({ score: await countRight() }),
        validateEvery: learner.validateEvery,
        saveEvery: snapshotEvery,
        store: { save: (kind, snapshot) => void (kind === 'last' && say({ snapshot })) },
        ...(resume && { resume: resume as Snapshot }),
      });
      for await (const event of run) {
        if (event.kind === 'step') {
          losses.push(event.loss);
          [done, secondsLeft] = [event.progress, event.secondsLeft];
          if (performance.now() - told >= wordEvery) say();
        } else if (event.kind === 'validation') say({ right: event.metrics.score });
        else if (event.kind === 'done')
          ended = { steps: event.step, seconds: event.seconds, reason: event.reason };
      }
      // A head alone leaves the backbone as it was.
      const state = new Map([
        ...(await readStateDict(stateEntries(this.backbone))),
        ...(await readStateDict(stateEntries(learner.models))),
      ]);
      return { file: this.#write(state, config, names), right: await countRight(), ...ended };
    } finally {
      this.#running = undefined;
      learner.dispose();
    }
  }

  /** What the model that is learning makes of an image, between two steps; undefined where none is. */
  async peek(image: Image): Promise<readonly Guess[] | undefined> {
    if (this.#running === undefined) return undefined;
    const { learner, names } = this.#running;
    const logits = learner.logitsOf(image);
    try {
      return (await topK(logits, names.length, names))[0]!;
    } finally {
      logits.dispose();
    }
  }

  /** The classifier alone: the backbone looks at each image once, and after that a step takes no time. */
  #head(config: PvtConfig, images: readonly Image[], labels: readonly number[]): Learner {
    const last = config.dims.length - 1;
    const head = createClassificationHead(
      { channels: config.dims[last]!, classes: config.classes },
      scoped(withNewClassifier(this.#checkpoint.source, 1), 'head'),
    );
    const embed = (some: readonly Image[]) =>
      tf.tidy(() => this.backbone.forward(preprocess(some, this.#recipe), { stages: [last] }).embedding!);
    const embeddings = inBatches(images, embed);
    return {
      models: { head },
      learningRate: 0.02,
      validateEvery: 10,
      loss: (items, context) =>
        classificationLoss(
          head.forward(tf.gather(embeddings, [...items]), context),
          items.map((i) => labels[i]!),
        ),
      logits: () => head.forward(embeddings),
      logitsOf: (image) => tf.tidy(() => head.forward(embed([image]))),
      dispose() {
        embeddings.dispose();
        head.dispose();
      },
    };
  }

  /** The last stage and the classifier; half of the images are mirrored, so that few go a longer way. */
  #lastStage(config: PvtConfig, images: readonly Image[], labels: readonly number[]): Learner {
    const model = createPvtClassifier(config, withNewClassifier(this.#checkpoint.source, 1));
    const inputOf = (some: readonly Image[]) => preprocess(some, this.#recipe);
    const logitsOf = (some: readonly Image[]) => tf.tidy(() => model.forward(inputOf(some)).logits);
    return {
      models: model,
      learningRate: 1e-3,
      validateEvery: 3,
      loss(items, context) {
        const mirrored = items.map((i) => {
          const input = inputOf([images[i]!]);
          return context.random.uniform() < 0.5 ? tf.reverse(input, 2) : input;
        });
        return model.forward(tf.concat(mirrored), {
          ...context,
          labels: items.map((i) => labels[i]!),
          smoothing: 0.05,
        }).loss;
      },
      logits: () => inBatches(images, logitsOf),
      logitsOf: (image) => logitsOf([image]),
      dispose: () => model.dispose(),
    };
  }

  /** A file that this page and the `pvt` command read: under the names that it began with, for LayerNorm's epsilons go with them. */
  #write(state: StateDict, config: PvtConfig, names: readonly string[]): Uint8Array {
    const canonical = new Map(
      Array.from(leavesOf(checkpointSpec(config)), ([path]) => [path, state.get(path)!]),
    );
    const named = fromCanonical(canonical, this.#checkpoint.naming, config);
    return writeSafetensors(
      Array.from(named, ([name, { shape, values }]) => [name, fromFloat32(values, shape, 'F32')]),
      { format: 'pt', labels: JSON.stringify(names), preprocessing: JSON.stringify(this.#recipe) },
    );
  }

  dispose(): void {
    this.stop();
    this.backbone.dispose();
  }
}

function inBatches(images: readonly Image[], forward: (some: readonly Image[]) => tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() =>
    tf.concat(
      Array.from({ length: Math.ceil(images.length / batchSize) }, (_, i) =>
        forward(images.slice(i * batchSize, (i + 1) * batchSize)),
      ),
    ),
  );
}

/** Places in a list of so many, in batches, in an order that depends on the epoch alone. */
function batchesOf(count: number): TrainingData<readonly number[]> {
  return {
    length: Math.ceil(count / batchSize),
    *batches(epoch) {
      const random = createRandom(`order/${epoch}`);
      const order = Array.from({ length: count }, (_, i) => ({ i, at: random.uniform() })).sort(
        (a, b) => a.at - b.at,
      );
      for (let at = 0; at < count; at += batchSize) yield order.slice(at, at + batchSize).map(({ i }) => i);
    },
  };
}
