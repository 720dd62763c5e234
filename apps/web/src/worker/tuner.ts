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
import {
  classificationLoss,
  createClassificationHead,
  createPvtClassifier,
  topK,
  type Prediction,
} from '@pvt/heads';
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
  type DoneEvent,
  type Models,
  type TrainingData,
} from '@pvt/training';
import * as tf from '@tensorflow/tfjs-core';
import type { Tuned, TuneProgress, TuneRequest } from '../protocol.ts';

const batchSize = 16;
/** Milliseconds between two progress reports. */
const reportInterval = 100;
/** Seconds between two snapshots. */
const snapshotInterval = 3;

/** The part of the model that is trained. Items are indices into the visitor's images. */
interface Learner {
  readonly models: Models;
  readonly learningRate: number;
  /** Epochs between two validations. */
  readonly validateEvery: number;
  loss(items: readonly number[], context: TrainingContext): tf.Scalar;
  /** Logits of all images, [N, classes]. */
  logits(): tf.Tensor2D;
  /** Logits of any image, [1, classes]. */
  logitsOf(image: Image): tf.Tensor2D;
  dispose(): void;
}

/** Trains a checkpoint's backbone to tell the visitor's classes apart, from a few images. */
export class Tuner {
  readonly backbone: Pvt;
  readonly #checkpoint: Checkpoint;
  readonly #preprocessing: Preprocessing;
  /** The run in progress. */
  #run: { readonly learner: Learner; readonly names: readonly string[] } | undefined;
  #aborting = new AbortController();

  constructor(checkpoint: Checkpoint, preprocessing: Preprocessing) {
    this.#checkpoint = checkpoint;
    this.#preprocessing = preprocessing;
    this.backbone = createPvt({ ...checkpoint.config, classes: 0 }, checkpoint.source);
  }

  /** Ends the run after its current step. The run then returns the model as it is. */
  stop(): void {
    this.#aborting.abort();
  }

  async train(
    { names, images: labelled, trainable, epochs, resume }: TuneRequest,
    images: readonly Image[],
    onProgress: (progress: TuneProgress) => void,
  ): Promise<Tuned> {
    this.#aborting = new AbortController();
    const config: PvtConfig = { ...this.#checkpoint.config, classes: names.length };
    const labels = labelled.map(({ label }) => label);
    const learner =
      trainable === 'head' ? this.#head(config, images, labels) : this.#lastStage(config, images, labels);
    const countCorrect = async (): Promise<number> => {
      const logits = learner.logits();
      const best = tf.argMax(logits, 1);
      const predicted = await best.data();
      tf.dispose([logits, best]);
      return labels.filter((label, i) => predicted[i] === label).length;
    };
    let losses: number[] = [];
    let [reportedAt, progress, secondsLeft] = [0, 0, 0];
    const report = (more: Partial<TuneProgress> = {}): void => {
      onProgress({ losses, progress, secondsLeft, ...more });
      losses = [];
      reportedAt = performance.now();
    };
    this.#run = { learner, names };
    try {
      let end: Pick<DoneEvent, 'step' | 'seconds' | 'reason'> = { step: 0, seconds: 0, reason: 'finished' };
      const run = train(learner.models, {
        data: batchesOf(images.length),
        loss: (items, context) => learner.loss(items, context),
        select: fromStage(config.dims.length),
        optimizer: adamW({ learningRate: learner.learningRate }),
        schedule: warmupCosine(),
        epochs,
        clip: 1,
        signal: this.#aborting.signal,
        validate: async () => ({ score: await countCorrect() }),
        validateEvery: learner.validateEvery,
        saveEvery: snapshotInterval,
        store: { save: (kind, snapshot) => void (kind === 'last' && report({ snapshot })) },
        ...(resume && { resume }),
      });
      for await (const event of run) {
        if (event.kind === 'step') {
          losses.push(event.loss);
          ({ progress, secondsLeft } = event);
          if (performance.now() - reportedAt >= reportInterval) report();
        } else if (event.kind === 'validation') report({ correct: event.metrics.score });
        else if (event.kind === 'done') end = event;
      }
      // The learner's parameters take precedence over those of the original backbone.
      const state = new Map([
        ...(await readStateDict(stateEntries(this.backbone))),
        ...(await readStateDict(stateEntries(learner.models))),
      ]);
      const { step: steps, seconds, reason } = end;
      const file = this.#write(state, config, names);
      return { file, correct: await countCorrect(), steps, seconds, reason };
    } finally {
      this.#run = undefined;
      learner.dispose();
    }
  }

  /** Classifies an image between two steps of the run in progress. Undefined if there is none. */
  async classify(image: Image): Promise<readonly Prediction[] | undefined> {
    if (this.#run === undefined) return undefined;
    const { learner, names } = this.#run;
    const logits = learner.logitsOf(image);
    try {
      return (await topK(logits, names.length, names))[0]!;
    } finally {
      logits.dispose();
    }
  }

  /** The classifier alone. The backbone embeds each image once; steps are then nearly free. */
  #head(config: PvtConfig, images: readonly Image[], labels: readonly number[]): Learner {
    const last = config.dims.length - 1;
    const head = createClassificationHead(
      { channels: config.dims[last]!, classes: config.classes },
      scoped(withNewClassifier(this.#checkpoint.source, 1), 'head'),
    );
    const embed = (batch: readonly Image[]) =>
      tf.tidy(
        () => this.backbone.forward(preprocess(batch, this.#preprocessing), { stages: [last] }).embedding!,
      );
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

  /** The last stage and the classifier. Half of the images are mirrored at random, as there are few. */
  #lastStage(config: PvtConfig, images: readonly Image[], labels: readonly number[]): Learner {
    const model = createPvtClassifier(config, withNewClassifier(this.#checkpoint.source, 1));
    const inputOf = (batch: readonly Image[]) => preprocess(batch, this.#preprocessing);
    const logitsOf = (batch: readonly Image[]) => tf.tidy(() => model.forward(inputOf(batch)).logits);
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

  /**
   * A safetensors file that this page and the `pvt` command read. Its parameter names follow the naming of
   * the original checkpoint, because the naming decides LayerNorm's epsilons.
   */
  #write(state: StateDict, config: PvtConfig, names: readonly string[]): Uint8Array {
    const canonical = new Map(
      Array.from(leavesOf(checkpointSpec(config)), ([path]) => [path, state.get(path)!]),
    );
    const named = fromCanonical(canonical, this.#checkpoint.naming, config);
    return writeSafetensors(
      Array.from(named, ([name, { shape, values }]) => [name, fromFloat32(values, shape, 'F32')]),
      { format: 'pt', labels: JSON.stringify(names), preprocessing: JSON.stringify(this.#preprocessing) },
    );
  }

  dispose(): void {
    this.stop();
    this.backbone.dispose();
  }
}

function inBatches(images: readonly Image[], forward: (batch: readonly Image[]) => tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() =>
    tf.concat(
      Array.from({ length: Math.ceil(images.length / batchSize) }, (_, i) =>
        forward(images.slice(i * batchSize, (i + 1) * batchSize)),
      ),
    ),
  );
}

/** The indices 0 … count - 1 in batches, in an order that depends on the epoch alone. */
function batchesOf(count: number): TrainingData<readonly number[]> {
  return {
    length: Math.ceil(count / batchSize),
    *batches(epoch) {
      const random = createRandom(`order/${epoch}`);
      const order = Array.from({ length: count }, (_, index) => ({ index, key: random.uniform() }))
        .sort((a, b) => a.key - b.key)
        .map(({ index }) => index);
      for (let start = 0; start < count; start += batchSize) yield order.slice(start, start + batchSize);
    },
  };
}
