import type { Placement, Size } from '@pvt/core';
import type { Detection, RetinaNetLevel } from '@pvt/heads';
import type { Checkpoint, TensorEntry } from '@pvt/presets';
import type { Detector, DetectorOptions } from '@pvt/tasks';
import type * as tf from '@tensorflow/tfjs-core';
import type { Command } from 'commander';
import { denseOptions, runDense, type DenseModel, type DenseOptions, type DenseResult } from '../dense.ts';
import { UsageError } from '../errors.ts';
import type { Input } from '../input.ts';
import type { Io } from '../io.ts';
import { table } from '../text.ts';

interface DetectOptions extends DenseOptions {
  readonly raw?: true;
}

export function detect(program: Command, io: Io): void {
  denseOptions(program.command('detect'), {
    score: 'least score of an object, 0 to 1 (default: as the implementation has it, 0.05)',
    sides: '800x1333',
  })
    .summary('find objects in images')
    .description(
      'Finds objects in images with a RetinaNet on a PVT: checkpoints of mmdetection, as the official ' +
        'detectors are, or of torchvision.',
    )
    .option('--raw', "with --out: the head's raw outputs for every anchor, too")
    .addHelpText(
      'after',
      `
--out holds:
  boxes      (K, 4)      float32, left, top, right, bottom in the image's own pixels, best first
  scores     (K)         float32
  labels     (K)         int32, the class's index
  images     (K)         int32, which of the N inputs, if N is more than one
  cls{level} (N, 9 classes, h, w)   with --raw: logits, before the sigmoid; levels count from 0, the finest
  reg{level} (N, 9 x 4, h, w)       with --raw: box deltas of each anchor

For several inputs, the files of --out and --plot are numbered: found-1.png, found-2.png and so on.

Examples:
  pvt detect street.jpg --weights retinanet_pvt_v2_b0.pth --plot found.png
  pvt detect *.jpg --weights retinanet_pvt_v2_b0.pth --score 0.5 --json
  pvt detect street.jpg --weights retinanet_pvt_v2_b0.pth --out found.safetensors --raw

An image that cannot be read is reported and does not stop the others; the exit code is then 1.`,
    )
    .action(async (inputs: string[], options: DetectOptions) => {
      if (options.raw && options.out === undefined)
        throw new UsageError(
          '--raw: expected --out FILE.safetensors beside it, got none; say where to write.',
        );
      await runDense(
        {
          model: 'detector',
          embedded: async () => (await import('@pvt/checkpoints-microscopy')).microscopy['pvt_v2_nano.bccd'],
          create: (checkpoint, taskOptions) => createModel(checkpoint, taskOptions, options),
        },
        inputs,
        options,
        io,
      );
    });
}

async function createModel(
  checkpoint: Checkpoint,
  taskOptions: DetectorOptions,
  options: DetectOptions,
): Promise<DenseModel> {
  const { createDetector } = await import('@pvt/tasks');
  const task = await createDetector(checkpoint, taskOptions);
  return {
    task,
    classes: task.model.parts.head.config.classes,
    predict: (input) => predict(task, input, options),
  };
}

async function predict(task: Detector, input: Input, { score, raw }: DetectOptions): Promise<DenseResult> {
  const { detect: detectObjects } = await import('@pvt/heads');
  const { names, model } = task;
  const published = model.parts.head.config.rules;
  const rules = { ...published, scoreThreshold: score ?? published.scoreThreshold };
  const { levels, inputSize, placement } = await forward(task, input);
  try {
    const found = await detectObjects(levels, {
      rules,
      input: inputSize,
      ...(placement && { images: [placement] }),
    });
    return {
      images: found.map((objects) => ({
        size: placement?.originalSize ?? inputSize,
        json: { detections: objects.map((object) => recordOf(object, names)) },
        lines: linesOf(objects, names, rules.scoreThreshold),
      })),
      tensors: [...(await resultTensors(found)), ...(raw ? await rawTensors(levels) : [])],
      draw: await drawing(found[0]!, names),
    };
  } finally {
    for (const { logits, deltas } of levels) for (const tensor of [logits, deltas]) tensor.dispose();
  }
}

/** The head's outputs, and how the image lies in the input. A tensor's images fill it. */
async function forward(
  task: Detector,
  input: Input,
): Promise<{
  readonly levels: readonly RetinaNetLevel[];
  readonly inputSize: Size;
  readonly placement?: Placement;
}> {
  const { isImage } = await import('@pvt/core');
  if (!isImage(input)) {
    const [, height, width] = input.shape;
    return { ...(await task.forward(input)), inputSize: [height, width] };
  }
  const { levels, prepared } = await task.forward(input);
  return { levels, inputSize: prepared.size, placement: prepared.placement };
}

/** The objects of all images as tensors, with the index of the image if there are several. */
async function resultTensors(
  found: readonly (readonly Detection[])[],
): Promise<(readonly [string, TensorEntry])[]> {
  const { fromFloat32 } = await import('@pvt/presets');
  const all = found.flat();
  const count = all.length;
  const boxes = all.flatMap(({ box }) => box);
  const scores = all.map(({ score }) => score);
  const labels = all.map(({ label }) => label);
  const images = found.flatMap((objects, i) => objects.map(() => i));
  return [
    ['boxes', fromFloat32(boxes, [count, 4])],
    ['scores', fromFloat32(scores, [count])],
    ['labels', fromFloat32(labels, [count], 'I32')],
    ...(found.length > 1 ? [['images', fromFloat32(images, [count], 'I32')] as const] : []),
  ];
}

/** The head's outputs as maps (N, C, h, w), as its convolutions make them. */
async function rawTensors(levels: readonly RetinaNetLevel[]): Promise<(readonly [string, TensorEntry])[]> {
  const { fromFloat32 } = await import('@pvt/presets');
  const { reshape, tidy, transpose } = await import('@tensorflow/tfjs-core');
  const toMap = async (name: string, rows: tf.Tensor3D, [height, width]: Size) => {
    const [batch] = rows.shape;
    const map = tidy(() => transpose(reshape(rows, [batch, height, width, -1]), [0, 3, 1, 2]));
    const entry = fromFloat32(await map.data<'float32'>(), map.shape);
    map.dispose();
    return [name, entry] as const;
  };
  return Promise.all(
    levels.flatMap(({ logits, deltas, grid }, i) => [
      toMap(`cls${i}`, logits, grid),
      toMap(`reg${i}`, deltas, grid),
    ]),
  );
}

async function drawing(
  objects: readonly Detection[],
  names: readonly string[],
): Promise<DenseResult['draw']> {
  const { drawDetections } = await import('@pvt/draw');
  const named = objects.map((object) => ({ ...object, name: nameOf(object, names) }));
  return (context) => drawDetections(context, named);
}

/** An object as `--json` shows it, with the name of its class if that is known. */
const recordOf = ({ label, score, box }: Detection, names: readonly string[]) => ({
  label,
  ...(names[label] && { name: names[label] }),
  score,
  box,
});

/** Of torchvision's classes, some have no name. */
const nameOf = ({ label }: Detection, names: readonly string[]): string => names[label] || `class ${label}`;

/** Most objects of an image that a terminal shows. */
const shownObjects = 20;

function linesOf(objects: readonly Detection[], names: readonly string[], score: number): string[] {
  if (objects.length === 0) return [`nothing above ${score}`];
  const rows = objects
    .slice(0, shownObjects)
    .map((object) => [
      nameOf(object, names),
      `${(100 * object.score).toFixed(1)} %`,
      ...object.box.map((side) => side.toFixed(1)),
    ]);
  const more = objects.length - rows.length;
  return [
    ...table([['', 'score', 'left', 'top', 'right', 'bottom'], ...rows]),
    ...(more > 0 ? [`and ${more} more; --score shows fewer, --json all`] : []),
  ];
}
