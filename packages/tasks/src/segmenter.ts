import { denseInput, type DenseInput, type DenseInputOptions } from '@pvt/adapter-image';
import type { LabelMap } from '@pvt/core';
import { createDenseModel, labelMaps, type DenseModel, type SegmenterParts } from '@pvt/heads';
import type { CompatibilityReport } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import { runInBatches } from './batches.ts';
import { blankInput, openImage, resolveInput, toBatch, type ImageInput, type InputOptions } from './image.ts';
import { runAndFree, startRunner } from './runner.ts';
import { readSegmenter } from './segmentationHead.ts';
import {
  isCheckpoint,
  loadOnce,
  oneOrMany,
  warmUpTask,
  type CheckpointLike,
  type OneOrMany,
  type RunOptions,
  type Task,
  type TaskOptions,
} from './task.ts';

/**
 * By default the shorter side becomes 512 pixels and the longer at most 2048, in multiples of 32, as the
 * official code has it. Inputs resized as OpenCV does are stretched to the multiples (mmsegmentation's
 * `AlignResize`), others padded.
 */
export interface SegmenterOptions extends TaskOptions, InputOptions {}

export interface SegmentOptions extends RunOptions {
  /** Whether the label maps hold each pixel's probability too. Default: false. */
  readonly scores?: boolean;
}

/** What the head says before pixels get their classes. */
export interface SegmenterOutput {
  /** [B, h, w, classes], as large as the head makes them. */
  readonly logits: tf.Tensor4D;
  /** The input that was made of an image. Absent if the input was prepared already. */
  readonly prepared?: DenseInput;
}

export interface Segmenter extends Task {
  readonly model: DenseModel<SegmenterParts>;
  /** The class of every pixel of one image, or of each of several, at the image's own size. */
  readonly segment: OneOrMany<ImageInput, SegmentOptions, LabelMap>;
  /** The logits of one image. The tensor is yours. */
  forward(image: ImageInput): Promise<Required<SegmenterOutput>>;
  /** The logits of prepared images [B, height, width, 3], which are borrowed. The tensor is yours. */
  forward(input: tf.Tensor4D): Promise<SegmenterOutput>;
}

/**
 * A segmenter: the class of every pixel of an image, from a checkpoint with semantic FPN or UPerNet of
 * mmsegmentation, SegFormer's head, a U-Net or a linear head, or from parts of your own, which the segmenter
 * disposes of.
 *
 * @throws CheckpointError `head-missing` if the checkpoint has none of these heads; what `loadCheckpoint` and
 * `readImage` throw; the signal's reason after an abort
 * @example
 * const segmenter = await createSegmenter('fpn_pvt_v2_b0_ade20k.pth');
 * const { width, height, labels } = await segmenter.segment(image);
 * segmenter.dispose();
 */
export async function createSegmenter(
  from: CheckpointLike | SegmenterParts,
  options: SegmenterOptions = {},
): Promise<Segmenter> {
  const { model, names, input, report } = await openSegmenter(from, options);
  const runner = await startRunner(model, options.runner);

  const prepare = async (image: ImageInput, signal?: AbortSignal): Promise<DenseInput> =>
    denseInput(await openImage(image, signal), input);

  const segmentIn = async (inputs: readonly DenseInput[], scores: boolean): Promise<LabelMap[]> => {
    const logits = await runAndFree(runner, toBatch(inputs));
    try {
      return await labelMapsOf(logits, inputs, scores);
    } finally {
      logits.dispose();
    }
  };

  async function forward(image: ImageInput): Promise<Required<SegmenterOutput>>;
  async function forward(input: tf.Tensor4D): Promise<SegmenterOutput>;
  async function forward(input: ImageInput | tf.Tensor4D): Promise<SegmenterOutput> {
    if (input instanceof tf.Tensor) return { logits: await runner.run(input) };
    const prepared = await prepare(input);
    return { logits: await runAndFree(runner, toBatch([prepared])), prepared };
  }

  const segmenter: Segmenter = {
    model,
    names,
    ...(report && { report }),
    segment: oneOrMany((images, { signal, scores = false }: SegmentOptions = {}) =>
      runInBatches(
        images,
        { batch: options.batch ?? 1, signal },
        {
          prepare: (image: ImageInput) => prepare(image, signal),
          keyOf: ({ size }) => size.join(),
          run: (inputs) => segmentIn(inputs, scores),
        },
      ),
    ),
    forward,
    dispose: () => runner.dispose(),
  };
  if (options.warmUp ?? true) await warmUpTask(segmenter, () => segmentIn([blankInput(input)], false));
  return segmenter;
}

interface OpenedSegmenter {
  readonly model: DenseModel<SegmenterParts>;
  readonly names: readonly string[];
  readonly input: DenseInputOptions;
  readonly report: CompatibilityReport | undefined;
}

/** The model, and all that the checkpoint and the options say about it. */
async function openSegmenter(
  from: CheckpointLike | SegmenterParts,
  options: SegmenterOptions,
): Promise<OpenedSegmenter> {
  const given = isParts(from) ? from : await loadOnce(from, { ...options, classes: 0 });
  const checkpoint = isCheckpoint(given) ? given : undefined;
  const { report, ...parts } = isCheckpoint(given) ? readSegmenter(given) : { ...given, report: undefined };
  const model = createDenseModel<SegmenterParts>(parts);
  try {
    const input = resolveInput('createSegmenter', options, checkpoint, {
      size: { shortSide: 512, longSide: 2048, multiple: 32 },
      resize: 'opencv',
    });
    const align = input.resize === 'opencv' ? 'stretch' : 'pad';
    const names = options.names ?? checkpoint?.labels ?? [];
    return { model, names, input: { ...input, align }, report };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

const isParts = (from: CheckpointLike | SegmenterParts): from is SegmenterParts =>
  typeof from === 'object' && 'head' in from;

/** Label maps at each image's own size; in one go if all images of the batch lie alike in their inputs. */
async function labelMapsOf(
  logits: tf.Tensor4D,
  inputs: readonly DenseInput[],
  scores: boolean,
): Promise<LabelMap[]> {
  const [first] = inputs;
  const { size, placement } = first!;
  const { contentSize, originalSize } = placement;
  const sameSize = inputs.every((input) => input.placement.originalSize.join() === originalSize.join());
  if (sameSize) return labelMaps(logits, [size, originalSize], { scores, contentSize });
  const maps: LabelMap[] = [];
  for (const [i, input] of inputs.entries()) {
    const one = tf.slice(logits, [i, 0, 0, 0], [1, -1, -1, -1]);
    maps.push(...(await labelMapsOf(one, [input], scores)));
    one.dispose();
  }
  return maps;
}
