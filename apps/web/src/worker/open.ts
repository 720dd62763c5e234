/** Opening a model: its files, the model of a task, and the first pass that prepares the device. */
import { cost, type Image, type PvtConfig, type Size } from '@pvt/core';
import { fetchCheckpoint, type Checkpoint, type CheckpointFiles, type LoadProgress } from '@pvt/presets';
import {
  createClassifier,
  createDetector,
  createSegmenter,
  type Classifier,
  type Detector,
  type Segmenter,
  type Task,
} from '@pvt/tasks';
import * as tf from '@tensorflow/tfjs-core';
import type { CheckpointLocation, OpenedModel, OpenRequest, TaskName } from '../protocol.ts';
import { compileShaders } from './backends.ts';
import { Explorer } from './explore.ts';
import { classifierInputSize, exploredSize, preprocessingOf } from './inputs.ts';
import type { Tuner } from './tuner.ts';

/** The model that serves each task. */
export interface TaskModels {
  readonly classify: Classifier;
  readonly segment: Segmenter;
  readonly detect: Detector;
  readonly explore: Explorer;
  readonly tune: Tuner;
}

/** A model that was built but has not run yet. */
export interface BuiltModel {
  readonly model: TaskModels[TaskName];
  /** Size of its input, for its cost. */
  readonly size: Size;
  /** How many of the checkpoint's parameters it does not use. */
  readonly unused: number;
  /** A pass over an empty image. The outputs belong to the caller. */
  readonly runBlank: () => Promise<tf.Tensor[]>;
}

export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: LoadProgress) => void;
  readonly onWarning: (message: string) => void;
}

/** Makes the files of a checkpoint readable, downloading them if they are elsewhere. */
export async function fetchFiles(
  location: CheckpointLocation,
  { signal, onProgress, onWarning }: FetchOptions,
): Promise<CheckpointFiles> {
  if (location.kind === 'files') return filesOf(location.files);
  return fetchCheckpoint(location.kind === 'name' ? location.name : new URL(location.url), {
    signal,
    onProgress,
    onWarning: ({ message }) => onWarning(message),
    // The browser's HTTP cache holds the page's own files already.
    ...(location.kind === 'embedded' && { cache: false as const }),
  });
}

async function filesOf(files: readonly File[]): Promise<CheckpointFiles> {
  const [only, ...others] = files;
  if (only !== undefined && others.length === 0) return fetchCheckpoint(only);
  return new Map(
    files.map((file) => [
      file.name,
      {
        name: file.name,
        size: file.size,
        read: async (begin: number, end: number) =>
          new Uint8Array(await file.slice(begin, end).arrayBuffer()),
      },
    ]),
  );
}

/** Builds the model of a task from a checkpoint. */
export function buildModel(checkpoint: Checkpoint, request: OpenRequest): Promise<BuiltModel> {
  switch (request.task) {
    case 'classify':
      return buildClassifier(checkpoint);
    case 'segment':
      return buildSegmenter(checkpoint, request);
    case 'detect':
      return buildDetector(checkpoint, request);
    case 'explore':
      return buildExplorer(checkpoint, request);
    case 'tune':
      return buildTuner(checkpoint);
  }
}

const unusedBy = ({ report }: Task): number => report?.unexpected.length ?? 0;

async function buildClassifier(checkpoint: Checkpoint): Promise<BuiltModel> {
  const model = await createClassifier(checkpoint, { warmUp: false });
  const size = classifierInputSize(checkpoint);
  return {
    model,
    size,
    unused: unusedBy(model),
    runBlank: async () => [tf.tidy(() => model.model.forward(blankInput(size, checkpoint.config)).logits)],
  };
}

async function buildSegmenter(checkpoint: Checkpoint, request: OpenRequest): Promise<BuiltModel> {
  const { image, size, bounds } = denseInput(request);
  const model = await createSegmenter(checkpoint, { warmUp: false, size: bounds });
  return {
    model,
    size,
    unused: unusedBy(model),
    runBlank: async () => [(await model.forward(image)).logits],
  };
}

async function buildDetector(checkpoint: Checkpoint, request: OpenRequest): Promise<BuiltModel> {
  const { image, size, bounds } = denseInput(request);
  const model = await createDetector(checkpoint, { warmUp: false, size: bounds });
  return {
    model,
    size,
    unused: unusedBy(model),
    async runBlank() {
      const { levels } = await model.forward(image);
      return levels.flatMap(({ logits, deltas }) => [logits, deltas]);
    },
  };
}

async function buildExplorer(checkpoint: Checkpoint, request: OpenRequest): Promise<BuiltModel> {
  const { image, size } = denseInput(request);
  const model = new Explorer(checkpoint);
  return {
    model,
    size,
    unused: 0,
    async runBlank() {
      const { pyramid, embedding, attentions } = model.forward(image, size);
      return [embedding, ...pyramid.map(({ tensor }) => tensor), ...attentions.flat()];
    },
  };
}

async function buildTuner(checkpoint: Checkpoint): Promise<BuiltModel> {
  // The training library is loaded only when it is needed.
  const { Tuner } = await import('./tuner.ts');
  const model = new Tuner(checkpoint, preprocessingOf(checkpoint));
  const size = classifierInputSize(checkpoint);
  return {
    model,
    size,
    unused: 0,
    runBlank: async () => [
      tf.tidy(() => model.backbone.forward(blankInput(size, checkpoint.config)).embedding),
    ],
  };
}

const blankInput = ([height, width]: Size, { channels }: PvtConfig): tf.Tensor4D =>
  tf.zeros([1, height, width, channels]);

/** An empty image of the shape that the model will run on first, and the bounds of its input. */
function denseInput({ shortSide = 320, image: { width, height } = { width: 1, height: 1 } }: OpenRequest) {
  const image: Image = { width, height, data: new Uint8Array(width * height * 3) };
  const bounds = { shortSide, longSide: 3 * shortSide };
  return { image, bounds, size: exploredSize(image, shortSide) };
}

/** Runs a model twice: once to compile its shaders, once to run them. */
export async function warmUp({ runBlank }: BuiltModel): Promise<void> {
  await compileShaders(async () => tf.dispose(await runBlank()));
  const outputs = await runBlank();
  try {
    await outputs[0]!.data();
  } finally {
    tf.dispose(outputs);
  }
}

/** What the page is told about a model that was opened. */
export function describeModel(
  { config, model }: Checkpoint,
  { size, unused }: BuiltModel,
): Omit<OpenedModel, 'warnings' | 'milliseconds'> {
  const { params, macs } = cost(config, size);
  return { variant: model ?? `PVT ${config.version}`, config, params, macs, unused };
}
