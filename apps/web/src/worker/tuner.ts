import { createPvt, type Image, type Preprocessing, type Pvt } from '@pvt/core';
import { createFewShotLearner, type FewShotLearner } from '@pvt/finetune';
import { topK, type Prediction } from '@pvt/heads';
import type { Checkpoint } from '@pvt/presets';
import { adamW, readStateDict, stateEntries, train, warmupCosine, type DoneEvent } from '@pvt/training';
import * as tf from '@tensorflow/tfjs-core';
import type { Tuned, TuneProgress, TuneRequest } from '../protocol.ts';

/** Milliseconds between two progress reports. */
const reportInterval = 100;
/** Seconds between two snapshots. */
const snapshotInterval = 3;

/** Epochs between two validations. Epochs of the last stage take longer. */
const validateEvery = { head: 10, stage: 3 } as const;

/** Trains a checkpoint's backbone to tell the visitor's classes apart, from a few images. */
export class Tuner {
  readonly backbone: Pvt;
  readonly #checkpoint: Checkpoint;
  readonly #preprocessing: Preprocessing;
  /** The run in progress. */
  #run: { readonly learner: FewShotLearner; readonly names: readonly string[] } | undefined;
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
    const labels = labelled.map(({ label }) => label);
    const learner = createFewShotLearner({
      checkpoint: this.#checkpoint,
      backbone: this.backbone,
      preprocessing: this.#preprocessing,
      names,
      images,
      labels,
      trains: trainable === 'head' ? 'head' : 'lastStage',
    });
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
        data: learner.data,
        loss: (indices, context) => learner.loss(indices, context),
        select: learner.select,
        optimizer: adamW({ learningRate: learner.learningRate }),
        schedule: warmupCosine(),
        epochs,
        clip: 1,
        signal: this.#aborting.signal,
        validate: async () => ({ score: await countCorrect() }),
        validateEvery: validateEvery[trainable],
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
      const file = learner.encode(await readStateDict(stateEntries(learner.models)));
      const { step: steps, seconds, reason } = end;
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

  dispose(): void {
    this.stop();
    this.backbone.dispose();
  }
}
