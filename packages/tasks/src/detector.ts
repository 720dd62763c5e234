import { denseInput, type DenseInput, type DenseInputOptions } from '@pvt/adapter-image';
import {
  createDenseModel,
  detect,
  type DenseModel,
  type Detection,
  type DetectorParts,
  type RetinaNetLevel,
} from '@pvt/heads';
import type { CompatibilityReport } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import { runInBatches } from './batches.ts';
import { blankInput, openImage, resolveInput, toBatch, type ImageInput, type InputOptions } from './image.ts';
import { cocoNames, torchvisionCocoNames } from './names.ts';
import { readDetector } from './retinaNet.ts';
import { runAndFree, startRunner } from './runner.ts';
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

/** The thresholds of a detector, for all calls or for one. */
export interface DetectorThresholds {
  /** Least score of an object. Default: the head's, 0.05 of published detectors. */
  readonly scoreThreshold?: number;
  /**
   * Intersection over union above which the lower-scoring of two objects of a class is dropped. Default: the
   * head's.
   */
  readonly iouThreshold?: number;
  /** Most objects per image. Default: the head's, 100 of mmdetection's detectors. */
  readonly maxDetections?: number;
}

/**
 * By default the shorter side becomes 800 pixels and the longer at most 1333, in multiples of 32, as of
 * published detectors.
 */
export interface DetectorOptions extends TaskOptions, InputOptions, DetectorThresholds {}

export interface DetectOptions extends RunOptions, DetectorThresholds {}

/** An object with its class name, or the class's index as text if the class has no name. */
export interface NamedDetection extends Detection {
  readonly name: string;
}

/** What the head says before boxes are decoded. */
export interface DetectorOutput {
  /** Finest level first. */
  readonly levels: RetinaNetLevel[];
  /** The input that was made of an image. Absent if the input was prepared already. */
  readonly prepared?: DenseInput;
}

export interface Detector extends Task {
  readonly model: DenseModel<DetectorParts>;
  /** The objects in one image, or in each of several, best first, with boxes in the image's own pixels. */
  readonly detect: OneOrMany<ImageInput, DetectOptions, NamedDetection[]>;
  /** The head's outputs for one image. The tensors are yours. */
  forward(image: ImageInput): Promise<Required<DetectorOutput>>;
  /**
   * The head's outputs for prepared images [B, height, width, 3], which are borrowed. The tensors are yours.
   */
  forward(input: tf.Tensor4D): Promise<DetectorOutput>;
}

/**
 * A detector: the objects in an image, with boxes in its own pixels, from a RetinaNet of mmdetection (the
 * official PVT detectors) or torchvision, or from parts of your own, which the detector disposes of.
 *
 * @throws CheckpointError `head-missing` if the checkpoint has no RetinaNet; what `loadCheckpoint` and
 * `readImage` throw; the signal's reason after an abort
 * @example
 * const detector = await createDetector('retinanet_pvt_v2_b0.pth');
 * const objects = await detector.detect(image, { scoreThreshold: 0.3 });
 * detector.dispose();
 */
export async function createDetector(
  from: CheckpointLike | DetectorParts,
  options: DetectorOptions = {},
): Promise<Detector> {
  const { model, names, input, report } = await openDetector(from, options);
  const runner = await startRunner(model, options.runner);
  const { rules } = model.parts.head.config;

  const prepare = async (image: ImageInput, signal?: AbortSignal): Promise<DenseInput> =>
    denseInput(await openImage(image, signal), input);

  const detectIn = async (
    inputs: readonly DenseInput[],
    thresholds: DetectorThresholds,
  ): Promise<NamedDetection[][]> => {
    const levels = await runAndFree(runner, toBatch(inputs));
    try {
      const found = await detect(levels, {
        rules: { ...rules, ...thresholds },
        input: inputs[0]!.size,
        images: inputs.map(({ placement }) => placement),
      });
      return found.map((objects) =>
        objects.map((object) => ({ ...object, name: names[object.label] || `${object.label}` })),
      );
    } finally {
      for (const { logits, deltas } of levels) tf.dispose([logits, deltas]);
    }
  };

  async function forward(image: ImageInput): Promise<Required<DetectorOutput>>;
  async function forward(input: tf.Tensor4D): Promise<DetectorOutput>;
  async function forward(input: ImageInput | tf.Tensor4D): Promise<DetectorOutput> {
    if (input instanceof tf.Tensor) return { levels: await runner.run(input) };
    const prepared = await prepare(input);
    return { levels: await runAndFree(runner, toBatch([prepared])), prepared };
  }

  const detector: Detector = {
    model,
    names,
    ...(report && { report }),
    detect: oneOrMany((images, { signal, ...thresholds }: DetectOptions = {}) =>
      runInBatches(
        images,
        { batch: options.batch ?? 1, signal },
        {
          prepare: (image: ImageInput) => prepare(image, signal),
          keyOf: ({ size }) => size.join(),
          run: (inputs) => detectIn(inputs, resolveThresholds(thresholds, options, rules)),
        },
      ),
    ),
    forward,
    dispose: () => runner.dispose(),
  };
  if (options.warmUp ?? true) await warmUpTask(detector, () => detectIn([blankInput(input)], rules));
  return detector;
}

interface OpenedDetector {
  readonly model: DenseModel<DetectorParts>;
  readonly names: readonly string[];
  readonly input: DenseInputOptions;
  readonly report: CompatibilityReport | undefined;
}

/** The model, and all that the checkpoint and the options say about it. */
async function openDetector(
  from: CheckpointLike | DetectorParts,
  options: DetectorOptions,
): Promise<OpenedDetector> {
  const given = isParts(from) ? from : await loadOnce(from, { ...options, classes: 0 });
  const checkpoint = isCheckpoint(given) ? given : undefined;
  const { report, ...parts } = isCheckpoint(given) ? readDetector(given) : { ...given, report: undefined };
  const model = createDenseModel<DetectorParts>(parts);
  try {
    const { classes, rules } = model.parts.head.config;
    const input = resolveInput('createDetector', options, checkpoint, {
      size: { shortSide: 800, longSide: 1333, multiple: 32 },
      resize: rules.nmsSpace === 'input' ? 'torchvision' : 'opencv',
    });
    const names = options.names ?? checkpoint?.labels ?? publishedNames(classes);
    return { model, names, input, report };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

const isParts = (from: CheckpointLike | DetectorParts): from is DetectorParts =>
  typeof from === 'object' && 'head' in from;

/** COCO's class names, if a detector has as many classes as those of mmdetection or torchvision. */
const publishedNames = (classes: number): readonly string[] =>
  [cocoNames, torchvisionCocoNames].find(({ length }) => length === classes) ?? [];

/** Each threshold as the call says, else as the detector's options say, else as the head has it. */
const resolveThresholds = (
  call: DetectorThresholds,
  options: DetectorThresholds,
  head: Required<DetectorThresholds>,
): Required<DetectorThresholds> => ({
  scoreThreshold: call.scoreThreshold ?? options.scoreThreshold ?? head.scoreThreshold,
  iouThreshold: call.iouThreshold ?? options.iouThreshold ?? head.iouThreshold,
  maxDetections: call.maxDetections ?? options.maxDetections ?? head.maxDetections,
});
