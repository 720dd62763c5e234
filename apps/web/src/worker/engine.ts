/** The worker: everything that computes. The page calls it through comlink, one job at a time. */
import { BackendError, type Image, type LabelMap, type Size } from '@pvt/core';
import { drawDetections, drawLabels } from '@pvt/draw';
import { classColor, type Prediction } from '@pvt/heads';
import { catalogue, openCheckpoint, type LoadProgress } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import { expose, transfer } from 'comlink';
import type {
  Architecture,
  AttentionMap,
  AttentionRequest,
  BackendName,
  Check,
  Classified,
  Detected,
  Explored,
  OpenedModel,
  OpenRequest,
  PublishedCheckpoint,
  Segmented,
  SegmentedClass,
  StartOptions,
  TaskName,
  Tuned,
  TuneProgress,
  TuneRequest,
} from '../protocol.ts';
import { contextLost, startBackend } from './backends.ts';
import { createProbe, tolerance } from './check.ts';
import { transferErrorCodes } from './errors.ts';
import { imageOf } from './inputs.ts';
import { buildModel, describeModel, fetchFiles, warmUp, type TaskModels } from './open.ts';
import { drawOverlay } from './overlay.ts';

let current: { readonly task: TaskName; readonly model: TaskModels[TaskName] } | undefined;
let loading = new AbortController();

/** The open model of a task. */
function modelOf<T extends TaskName>(task: T): TaskModels[T] {
  if (current?.task !== task)
    throw new BackendError(
      'model-missing',
      `${task}: expected an open model, got ${current?.task ?? 'none'}; open one first.`,
    );
  return current.model as TaskModels[T];
}

function closeModel(): void {
  current?.model.dispose();
  current = undefined;
}

/** Rejects instead of returning the zeros that a lost graphics context computes. */
async function checked<T>(result: Promise<T>): Promise<T> {
  const value = await result;
  if (contextLost())
    throw new BackendError(
      'device-lost',
      'webgl: expected a graphics context, got one that was lost; start the worker again.',
    );
  return value;
}

/** Waits for a result and measures the milliseconds until then. */
async function measure<T>(work: () => Promise<T>): Promise<readonly [result: T, milliseconds: number]> {
  const start = performance.now();
  const result = await work();
  return [result, performance.now() - start];
}

const cssColor = (label: number): string =>
  `#${classColor(label)
    .map((value) => value.toString(16).padStart(2, '0'))
    .join('')}`;

/** The classes of a label map by their share of its pixels. */
function classShares({ labels }: LabelMap, names: readonly string[]): SegmentedClass[] {
  const pixels = new Map<number, number>();
  for (const label of labels) pixels.set(label, (pixels.get(label) ?? 0) + 1);
  return [...pixels]
    .sort((a, b) => b[1] - a[1])
    .map(([label, count]) => ({
      label,
      name: names[label] ?? `${label}`,
      share: count / labels.length,
      color: cssColor(label),
    }));
}

const engine = {
  /**
   * Starts the worker's backend and checks that it computes correctly.
   *
   * @throws BackendError `backend-missing` if it does not start on this device
   */
  async start(backend: BackendName, { timed, timeLimit = Infinity }: StartOptions): Promise<Check> {
    const begin = performance.now();
    await startBackend(backend, () => postMessage({ event: 'device-lost' }));
    const start = performance.now() - begin;
    const { error, small, timeLarge, dispose } = await createProbe();
    try {
      const large = timed && small.milliseconds < timeLimit ? await timeLarge() : undefined;
      return { backend, start, error, passed: error <= tolerance, small, ...(large && { large }) };
    } finally {
      dispose();
    }
  },

  /** Fetches, builds and warms up a model, which replaces the one before. */
  async open(request: OpenRequest, onProgress: (progress: LoadProgress) => void): Promise<OpenedModel> {
    loading = new AbortController();
    const { signal } = loading;
    const { task, location } = request;
    const warnings: string[] = [];
    const onWarning = (message: string) => void warnings.push(message);
    const [files, download] = await measure(() => fetchFiles(location, { signal, onProgress, onWarning }));
    const [{ checkpoint, built }, load] = await measure(async () => {
      const checkpoint = await openCheckpoint(files, { signal, ...(task !== 'classify' && { classes: 0 }) });
      signal.throwIfAborted();
      // Memory holds one model at a time.
      closeModel();
      return { checkpoint, built: await buildModel(checkpoint, request) };
    });
    try {
      const [, warm] = await measure(() => checked(warmUp(built)));
      signal.throwIfAborted();
      const milliseconds = { download, load, warmUp: warm };
      const opened = { ...describeModel(checkpoint, built), warnings, milliseconds };
      current = { task, model: built.model };
      return opened;
    } catch (error) {
      built.model.dispose();
      throw error;
    }
  },

  /** Aborts the download in progress. */
  cancel(): void {
    loading.abort();
  },

  async classify(bitmap: ImageBitmap, top: number): Promise<Classified> {
    const image = await imageOf(bitmap);
    const [predictions, milliseconds] = await measure(() =>
      checked(modelOf('classify').classify(image, { top })),
    );
    return { predictions, milliseconds };
  },

  async segment(bitmap: ImageBitmap): Promise<Segmented> {
    const image = await imageOf(bitmap);
    const segmenter = modelOf('segment');
    const { names } = segmenter;
    const [map, milliseconds] = await measure(() => checked(segmenter.segment(image)));
    const style = { names, alpha: 0.5, transparent: [names.indexOf('background')] };
    const overlay = drawOverlay(map.width, map.height, (context) => drawLabels(context, map, style), {
      tint: true,
    });
    return transfer({ overlay, classes: classShares(map, names), milliseconds }, [overlay]);
  },

  async detect(bitmap: ImageBitmap, scoreThreshold: number): Promise<Detected> {
    const image = await imageOf(bitmap);
    const [found, milliseconds] = await measure(() =>
      checked(modelOf('detect').detect(image, { scoreThreshold })),
    );
    const overlay = drawOverlay(image.width, image.height, (context) => drawDetections(context, found));
    const detections = found.map((detection) => ({ ...detection, color: cssColor(detection.label) }));
    return transfer({ overlay, detections, milliseconds }, [overlay]);
  },

  async explore(bitmap: ImageBitmap, shortSide: number): Promise<Explored> {
    const image = await imageOf(bitmap);
    const explored = await checked(modelOf('explore').explore(image, shortSide));
    const bitmaps = explored.levels.map((level) => level.bitmap);
    return transfer(explored, bitmaps);
  },

  /** A level of the explored image as a heat map, of one channel or of the norm over all. */
  drawLevel(index: number, channel: number | undefined): ImageBitmap {
    const bitmap = modelOf('explore').drawLevel(index, channel);
    return transfer(bitmap, [bitmap]);
  },

  /** What one token of the explored image attends to. */
  async attention(request: AttentionRequest): Promise<AttentionMap> {
    const map = await checked(modelOf('explore').attention(request));
    return transfer(map, [map.overlay]);
  },

  architecture: (size: Size): Architecture => modelOf('explore').architecture(size),

  /** Those of `sides` that the open model can be explored at. */
  allowedSides: (sides: readonly number[]): number[] => modelOf('explore').allowedSides(sides),

  /** Trains the open model on the visitor's images. */
  async train(request: TuneRequest, onProgress: (progress: TuneProgress) => void): Promise<Tuned> {
    const images: Image[] = [];
    for (const { bitmap } of request.images) images.push(await imageOf(bitmap));
    const tuned = await checked(modelOf('tune').train(request, images, onProgress));
    return transfer(tuned, [tuned.file.buffer]);
  },

  stopTraining: (): void => modelOf('tune').stop(),

  /** Classifies an image with the model that is being trained. Undefined if no run is in progress. */
  async classifyDuringTraining(bitmap: ImageBitmap): Promise<readonly Prediction[] | undefined> {
    return modelOf('tune').classify(await imageOf(bitmap));
  },

  /** The published checkpoints that a web page can load. */
  publishedCheckpoints: (): PublishedCheckpoint[] =>
    Object.entries(catalogue).flatMap(([name, { top1, ...entry }]) =>
      'hub' in entry ? [{ name, top1, repository: entry.hub }] : [],
    ),
};

export type Engine = typeof engine;

transferErrorCodes();
expose(engine);
// For the browser's developer tools, and for the tests that count tensors.
Object.assign(globalThis, { tf });
