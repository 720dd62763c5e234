import {
  createPvt,
  randomInit,
  type InputSize,
  type Normalization,
  type ParamSource,
  type Pvt,
  type PvtConfig,
  type StateDict,
  type TrainingContext,
} from '@pvt/core';
import type { Batch, Task } from '@pvt/data';
import {
  fromCanonical,
  fromFloat32,
  writeHeader,
  writeSafetensors,
  type Checkpoint,
  type Dtype,
  type HeaderMetadata,
  type Naming,
} from '@pvt/presets';
import { backboneConfig } from '@pvt/tasks';
import type { Models } from '@pvt/training';
import * as tf from '@tensorflow/tfjs-core';

/** What a loss reads of a batch of `@pvt/data`. */
export type TrainingBatch<K extends Task> = Pick<Batch<K>, 'inputs' | 'shape' | 'targets' | 'soft'>;

/** A task's model, its loss and its file format: all that the loop of `@pvt/training` does not know. */
export interface Learner<B> {
  /** As `train` takes them. */
  readonly models: Models;
  /** Mean loss of a batch. */
  loss(batch: B, context: TrainingContext): tf.Scalar;
  /**
   * A safetensors file that the task's `create…` function and the `pvt` command load: parameters under the
   * names of the official code; class names and the preparation of images in the header.
   *
   * @param weights the weights of a snapshot, or `await readStateDict(stateEntries(models))`
   * @param dtype Default: `F32`.
   */
  encode(weights: StateDict, dtype?: Dtype): Uint8Array;
  /** Frees the models. */
  dispose(): void;
}

/** The resize that the loader of `@pvt/data` makes dense inputs with. */
export const trainingResize = 'pillow';

/** The options with which `createSegmenter` and `createDetector` use a learner's parts. */
export interface DenseTaskOptions {
  readonly names: readonly string[];
  readonly size: InputSize;
  readonly normalize: Normalization;
  readonly resize: typeof trainingResize;
}

/** What a model starts from: a checkpoint, or an architecture and a source of its parameters. */
export type Initialization = Checkpoint | { readonly config: PvtConfig; readonly source: ParamSource };

/**
 * Random weights to start from.
 *
 * @example
 * const init = fromScratch(pvtConfig(getModel('pvt_v2_b0').config));
 * const learner = createSegmentationLearner({ init, names, size });
 */
export const fromScratch = (config: PvtConfig, seed = 0): Initialization => ({
  config,
  source: randomInit(seed),
});

/** The backbone of a segmenter or detector. */
export const createBackbone = (init: Initialization): Pvt => createPvt(backboneConfig(init), init.source);

/** The batch's images as a tensor, for a model to run on. */
export const inputOf = ({ inputs, shape }: TrainingBatch<Task>): tf.Tensor4D =>
  tf.tensor4d(inputs, [...shape]);

export interface EncodeOptions {
  readonly config: PvtConfig;
  /** What the backbone's paths begin with, such as `backbone.`. Default: nothing, as of a classifier. */
  readonly prefix?: string;
  /** The implementation whose names the backbone's parameters get. Default: `official`. */
  readonly naming?: Naming;
  readonly header: HeaderMetadata;
  /** Default: `F32`. */
  readonly dtype?: Dtype;
}

/**
 * A model's parameters as a safetensors file.
 *
 * @example
 * const weights = await readStateDict(stateEntries(model));
 * const file = encodeWeights(weights, { config: model.config, header: { labels: names } });
 */
export function encodeWeights(
  weights: StateDict,
  { config, prefix = '', naming = 'official', header, dtype = 'F32' }: EncodeOptions,
): Uint8Array {
  const all = Array.from(weights);
  const backbone = new Map(
    all
      .filter(([path]) => path.startsWith(prefix))
      .map(([path, entry]) => [path.slice(prefix.length), entry] as const),
  );
  const named = [
    ...Array.from(
      fromCanonical(backbone, naming, config),
      ([name, entry]) => [prefix + name, entry] as const,
    ),
    ...all.filter(([path]) => !path.startsWith(prefix)),
  ];
  return writeSafetensors(
    named.map(([name, { values, shape }]) => [name, fromFloat32(values, shape, dtype)]),
    { format: 'pt', ...writeHeader(header) },
  );
}
