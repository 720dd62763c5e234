/** The worker: everything that computes. The page calls it through comlink, one job at a time. */
import { imageFrom } from '@pvt/adapter-image';
import { BackendError, cost, type Image, type PvtConfig, type Preprocessing } from '@pvt/core';
import { drawDetections, drawLabels } from '@pvt/draw';
import { classColor } from '@pvt/heads';
import {
  catalogue,
  fetchCheckpoint,
  openCheckpoint,
  type Checkpoint,
  type CheckpointFiles,
} from '@pvt/presets';
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
  Guess,
  OpenedModel,
  OpenRequest,
  Progress,
  Reference,
  Segmented,
  Size,
  TaskName,
  Tuned,
  TuneProgress,
  TuneRequest,
} from '../protocol.ts';
import { compile, contextLost, memory, startBackend } from './backends.ts';
import { probe, tolerance } from './check.ts';
import { carryErrors } from './errors.ts';
import { Explorer, inputSize } from './explore.ts';
import { drawOverlay } from './overlay.ts';
import type { Tuner } from './tuner.ts';

/** What serves each task. */
interface Models {
  readonly classify: Classifier<ImageBitmapSource>;
  readonly segment: Segmenter<ImageBitmapSource>;
  readonly detect: Detector<ImageBitmapSource>;
  readonly explore: Explorer;
  readonly tune: Tuner;
}

let opened: { readonly task: TaskName; readonly model: Models[TaskName] } | undefined;
let aborting = new AbortController();

/** The open model of a task; the page opens it before. */
function modelOf<T extends TaskName>(task: T): Models[T] {
  if (opened?.task !== task)
    throw new BackendError(
      'model-missing',
      `${task}: expected an open model, got ${opened?.task ?? 'none'}; open one first.`,
    );
  return opened.model as Models[T];
}

/** Results of a lost context are zeros: nobody must see them. */
async function guarded<T>(work: () => Promise<T>): Promise<T> {
  const result = await work();
  if (contextLost())
    throw new BackendError(
      'device-lost',
      'webgl: expected a graphics context, got a lost one; the page starts again.',
    );
  return result;
}

const hex = (label: number) =>
  `#${classColor(label)
    .map((value) => value.toString(16).padStart(2, '0'))
    .join('')}`;

async function imageOf(bitmap: ImageBitmap): Promise<Image> {
  try {
    return await imageFrom(bitmap);
  } finally {
    bitmap.close();
  }
}

async function fetchFiles(
  from: Reference,
  onProgress: (progress: Progress) => void,
  warnings: string[],
  signal: AbortSignal,
): Promise<CheckpointFiles> {
  if (from.kind === 'files') {
    const [only, ...others] = from.files;
    if (only !== undefined && others.length === 0) return fetchCheckpoint(only);
    return new Map(
      from.files.map((file) => [
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
  return fetchCheckpoint(from.kind === 'name' ? from.name : new URL(from.url), {
    signal,
    onProgress: ({ loaded, total, secondsLeft }) => onProgress({ loaded, total, secondsLeft }),
    onWarning: ({ message }) => warnings.push(message),
    // What lies beside the page is in the browser's own cache.
    ...(from.kind === 'embedded' && { cache: false as const }),
  });
}

const variantOf = ({ model, config }: Checkpoint) => model ?? `PVT ${config.version}`;

/** How a classifier's images are prepared: as the file says, else stretched to what the model was trained at. */
const preprocessingOf = ({ preprocessing, config }: Checkpoint): Preprocessing =>
  preprocessing ?? {
    resize: { to: { size: config.imageSize }, resampling: 'bilinear' },
    rescale: 1 / 255,
    normalize: imageNet,
  };

const imageNet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** Published classifiers are asked for one size; the demonstration carries its own. */
const inputOf = (config: PvtConfig, { crop, resize }: Preprocessing): Size =>
  crop ?? (resize !== undefined && 'size' in resize.to ? resize.to.size : config.imageSize);

interface Created {
  readonly model: Models[TaskName];
  readonly names: readonly string[];
  readonly unused: number;
  readonly config: PvtConfig;
  readonly size: Size;
  /** A pass over an empty image; its outputs are the caller's. */
  readonly blank: () => Promise<tf.Tensor[]>;
}

async function create(
  { task, shortSide = 320, names: given, image: shape = { width: 1, height: 1 } }: OpenRequest,
  checkpoint: Checkpoint,
): Promise<Created> {
  const { config } = checkpoint;
  const size = inputSize(shape, shortSide);
  const image: Image = { ...shape, data: new Uint8Array(shape.width * shape.height * 3) };
  const options = { warmUp: false, ...(given && { names: given }) };
  const told = ({ names, report }: Task) => ({ names, unused: report?.unexpected.length ?? 0 });
  const preprocessing = preprocessingOf(checkpoint);
  const side = inputOf(config, preprocessing);
  if (task === 'tune') {
    // The training library comes when somebody trains.
    const { Tuner } = await import('./tuner.ts');
    const model = new Tuner(checkpoint, preprocessing);
    return {
      model,
      names: [],
      unused: 0,
      config,
      size: side,
      blank: async () => [
        tf.tidy(() => model.backbone.forward(tf.zeros([1, ...side, config.channels])).embedding),
      ],
    };
  }
  if (task === 'classify') {
    const model = await createClassifier(checkpoint, options);
    return {
      model,
      ...told(model),
      config,
      size: side,
      blank: async () => [tf.tidy(() => model.model.forward(tf.zeros([1, ...side, config.channels])).logits)],
    };
  }
  if (task === 'explore') {
    const model = new Explorer(checkpoint);
    const blank = async () => {
      const { pyramid, embedding, attentions } = model.forward(image, size);
      return [embedding, ...pyramid.map(({ tensor }) => tensor), ...attentions.flat()];
    };
    return { model, names: [], unused: 0, config, size, blank };
  }
  const dense = { ...options, size: { shortSide, longSide: 3 * shortSide } };
  if (task === 'segment') {
    const model = await createSegmenter(checkpoint, dense);
    return {
      model,
      ...told(model),
      config,
      size,
      blank: async () => [(await model.forward(image)).logits],
    };
  }
  const model = await createDetector(checkpoint, dense);
  return {
    model,
    ...told(model),
    config,
    size,
    blank: async () => (await model.forward(image)).levels.flatMap(({ logits, deltas }) => [logits, deltas]),
  };
}

/** Once to compile, once to run. */
async function warmUp(blank: Created['blank']): Promise<void> {
  await compile(async () => tf.dispose(await blank()));
  const outputs = await blank();
  try {
    await outputs[0]!.data();
  } finally {
    tf.dispose(outputs);
  }
}

const engine = {
  /**
   * Starts the worker's backend and checks that it computes rightly. `timed` also times the larger probe, unless the smaller took
   * longer than `hopeless` milliseconds.
   *
   * @throws BackendError `backend-missing` where it does not start, `backend-wrong` where it computes wrongly
   */
  async start(
    backend: BackendName,
    { timed, hopeless = Infinity }: { readonly timed: boolean; readonly hopeless?: number },
  ): Promise<Check> {
    const since = performance.now();
    await startBackend(backend, () => postMessage({ event: 'device-lost' }));
    const start = performance.now() - since;
    const { error, small, time, dispose } = await probe();
    try {
      const large = timed && small.milliseconds < hopeless ? await time() : undefined;
      return { backend, start, error, right: error <= tolerance, small, ...(large && { large }) };
    } finally {
      dispose();
    }
  },

  /** Fetches, reads and warms up a model in place of the one before. */
  async open(request: OpenRequest, onProgress: (progress: Progress) => void): Promise<OpenedModel> {
    aborting = new AbortController();
    const { signal } = aborting;
    const { task, title, from } = request;
    const warnings: string[] = [];
    const times = [performance.now()];
    const lap = () => times.push(performance.now());
    const files = await fetchFiles(from, onProgress, warnings, signal);
    lap();
    const checkpoint = await openCheckpoint(files, {
      signal,
      ...(task === 'classify' ? {} : { classes: 0 }),
    });
    signal.throwIfAborted();
    // Only one model at a time is in memory.
    engine.close();
    const { model, names, unused, config, size, blank } = await create(request, checkpoint);
    lap();
    try {
      await guarded(() => warmUp(blank));
      signal.throwIfAborted();
    } catch (error) {
      model.dispose();
      throw error;
    }
    lap();
    opened = { task, model };
    const [download, load, warm] = times.slice(1).map((time, i) => time - times[i]!) as [
      number,
      number,
      number,
    ];
    return {
      task,
      title,
      variant: variantOf(checkpoint),
      names,
      params: cost(config, size).params,
      macs: cost(config, size).macs,
      depths: config.depths,
      heads: config.heads,
      channels: config.dims,
      unused,
      warnings,
      milliseconds: { download, load, warmUp: warm },
    };
  },

  /** Stops a download. */
  cancel(): void {
    aborting.abort();
  },

  close(): void {
    opened?.model.dispose();
    opened = undefined;
  },

  async classify(bitmap: ImageBitmap, top: number): Promise<Classified> {
    const image = await imageOf(bitmap);
    const since = performance.now();
    const guesses = await guarded(() => modelOf('classify').classify(image, { top }));
    return { guesses, milliseconds: performance.now() - since };
  },

  async segment(bitmap: ImageBitmap): Promise<Segmented> {
    const image = await imageOf(bitmap);
    const since = performance.now();
    const segmenter = modelOf('segment');
    const map = await guarded(() => segmenter.segment(image));
    const milliseconds = performance.now() - since;
    const counts = new Map<number, number>();
    for (const label of map.labels) counts.set(label, (counts.get(label) ?? 0) + 1);
    const classes = [...counts]
      .sort((a, b) => b[1] - a[1])
      .map(([label, count]) => ({
        label,
        name: segmenter.names[label] ?? `${label}`,
        share: count / map.labels.length,
        color: hex(label),
      }));
    const overlay = drawOverlay(
      map.width,
      map.height,
      (context) =>
        drawLabels(context, map, {
          names: segmenter.names,
          alpha: 0.5,
          transparent: [segmenter.names.indexOf('background')],
        }),
      { tint: true },
    );
    return transfer({ overlay, classes, milliseconds }, [overlay]);
  },

  async detect(bitmap: ImageBitmap, scoreThreshold: number): Promise<Detected> {
    const image = await imageOf(bitmap);
    const since = performance.now();
    const found = await guarded(() => modelOf('detect').detect(image, { scoreThreshold }));
    const milliseconds = performance.now() - since;
    const overlay = drawOverlay(image.width, image.height, (context) => drawDetections(context, found));
    return transfer(
      {
        overlay,
        objects: found.map(({ name, label, score, box }) => ({
          name,
          label,
          score,
          box: [...box],
          color: hex(label),
        })),
        milliseconds,
      },
      [overlay],
    );
  },

  async explore(bitmap: ImageBitmap, shortSide: number): Promise<Explored> {
    const image = await imageOf(bitmap);
    const explored = await guarded(() => modelOf('explore').explore(image, shortSide));
    return transfer(
      explored,
      explored.levels.map(({ bitmap }) => bitmap),
    );
  },

  /** One level again, as the length of all channels or as one of them. */
  level(index: number, channel: number | undefined): ImageBitmap {
    const bitmap = modelOf('explore').level(index, channel);
    return transfer(bitmap, [bitmap]);
  },

  async attend(request: AttentionRequest): Promise<AttentionMap> {
    const map = await guarded(() => modelOf('explore').attend(request));
    return transfer(map, [map.overlay]);
  },

  architecture: (size: Size): Architecture => modelOf('explore').architecture(size),

  /** Trains the open base on the visitor's images; a run may be stopped, and goes on from a snapshot. */
  async train(request: TuneRequest, tell: (progress: TuneProgress) => void): Promise<Tuned> {
    const images: Image[] = [];
    for (const { bitmap } of request.examples) images.push(await imageOf(bitmap));
    const tuned = await guarded(() => modelOf('tune').train(request, images, tell));
    return transfer(tuned, [tuned.file.buffer]);
  },

  stopTraining: (): void => modelOf('tune').stop(),

  /** What the model that is learning makes of an image. */
  async peek(bitmap: ImageBitmap): Promise<readonly Guess[] | undefined> {
    return modelOf('tune').peek(await imageOf(bitmap));
  },

  /** Those of some sides that the open model can be explored at. */
  permitted: (sides: readonly number[]): number[] => modelOf('explore').permitted(sides),

  /** The published checkpoints that a web page can load. */
  published: () =>
    Object.entries(catalogue).flatMap(([name, { top1, ...entry }]) =>
      'hub' in entry ? [{ name, top1, repository: entry.hub }] : [],
    ),

  memory,
};

export type Engine = typeof engine;

carryErrors();
expose(engine);
// For whoever looks inside with the browser's tools.
Object.assign(globalThis, { tf });
