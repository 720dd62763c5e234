import {
  createPvt,
  randomInit,
  type ParamSource,
  type Pvt,
  type PvtConfig,
  type StateDict,
  type TrainingContext,
} from '@pvt/core';
import {
  fromCanonical,
  fromFloat32,
  writeHeader,
  writeSafetensors,
  type Checkpoint,
  type Dtype,
  type HeaderMetadata,
} from '@pvt/presets';
import type { Models } from '@pvt/training';
import * as tf from '@tensorflow/tfjs-core';
import { denseConfig, partsOf } from '../checkpoint.ts';
import { isCheckpoint } from '../task.ts';

/** Images with their truth, as `@pvt/data` makes them. */
export interface LearningBatch<T> {
  /** Normalised, row-major, of `shape`. */
  readonly inputs: Float32Array;
  readonly shape: readonly [batch: number, height: number, width: number, channels: number];
  /** One per image, in the input's pixels. */
  readonly targets: readonly T[];
  /** [batch, classes], the share of each class where images were mixed; goes before `targets`. */
  readonly soft?: Float32Array;
}

/**
 * A task's model as `train` takes it. The models are also the task's parts: give them to `createClassifier`,
 * `createSegmenter` or `createDetector` to use them while they learn.
 */
export interface Learner<T> {
  readonly models: Models;
  /** Mean loss of a batch. */
  loss(batch: LearningBatch<T>, context: TrainingContext): tf.Scalar;
  /**
   * A safetensors file that the task's `create…` function takes: parameters under the official code's names, class names
   * and the way images are prepared in the header.
   *
   * @param weights of a snapshot, or `await stateDict(…)` of the models
   */
  encode(weights: StateDict, dtype?: Dtype): Uint8Array;
  /** Frees the models. */
  dispose(): void;
}

/** What learning begins with: a checkpoint, or an architecture and numbers for it. */
export type Start = Checkpoint | { readonly config: PvtConfig; readonly source: ParamSource };

/** A start from random numbers. */
export const fromScratch = (config: PvtConfig, seed = 0): Start => ({ config, source: randomInit(seed) });

/** The backbone of a dense model. */
export function backboneOf(start: Start): Pvt {
  if (!isCheckpoint(start))
    return createPvt(
      {
        ...start.config,
        classes: 0,
        ...(start.config.version === 'v1' && { classToken: false }),
      } as PvtConfig,
      start.source,
    );
  const config = denseConfig(start);
  return createPvt(config, partsOf(start, config, {}).sourceOf('backbone'));
}

export const inputOf = <T>({ inputs, shape }: LearningBatch<T>): tf.Tensor4D =>
  tf.tensor4d(inputs, [...shape]);

/** A file of a model whose backbone's paths begin with `prefix`: there in official names, elsewhere in their own. */
export function encode(
  weights: StateDict,
  prefix: string,
  config: PvtConfig,
  header: HeaderMetadata,
  dtype: Dtype = 'F32',
): Uint8Array {
  const own = Array.from(weights).filter(([path]) => path.startsWith(prefix));
  const backbone = fromCanonical(
    new Map(own.map(([path, entry]) => [path.slice(prefix.length), entry])),
    'official',
    config,
  );
  const named = [
    ...Array.from(backbone, ([name, entry]) => [prefix + name, entry] as const),
    ...Array.from(weights).filter(([path]) => !path.startsWith(prefix)),
  ];
  return writeSafetensors(
    named.map(([name, { values, shape }]) => [name, fromFloat32(values, shape, dtype)]),
    { format: 'pt', ...writeHeader(header) },
  );
}
