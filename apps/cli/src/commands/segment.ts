import type { LabelMap, Size } from '@pvt/core';
import type { Checkpoint } from '@pvt/presets';
import type { Segmenter, SegmenterOptions } from '@pvt/tasks';
import type * as tf from '@tensorflow/tfjs-core';
import type { Command } from 'commander';
import {
  denseOptions,
  runDense,
  type DenseModel,
  type DenseOptions,
  type DenseResult,
  type ImageResult,
} from '../dense.ts';
import type { Input } from '../input.ts';
import type { Io } from '../io.ts';
import { bar, table } from '../text.ts';

/** Label of pixels whose best class is too improbable; no model has as many classes. */
const unsure = 65_535;

export function segment(program: Command, io: Io): void {
  denseOptions(program.command('segment'), {
    score: 'least probability of a class, 0 to 1; pixels below it stay without a class',
    sides: '512x2048',
  })
    .summary('find the class of every pixel of images')
    .description(
      "Finds the class of every pixel of images, with a PVT and mmsegmentation's semantic FPN or UPerNet, " +
        "SegFormer's head, a U-Net or a linear head.",
    )
    .addHelpText(
      'after',
      `
--out holds:
  logits  (N, classes, h, w)  float32, before the softmax, as large as the head makes them

--json gives each class's pixels as COCO run lengths. For several inputs, the files of --out and --plot are
numbered: seen-1.png, seen-2.png and so on.

Examples:
  pvt segment street.jpg --weights fpn_pvt_v2_b0_ade20k.pth --labels ade20k.txt --plot seen.png
  pvt segment *.jpg --weights fpn_pvt_v2_b0_ade20k.pth --score 0.5 --json
  pvt segment input.safetensors --weights fpn_pvt_v2_b0_ade20k.pth --out logits.safetensors

An image that cannot be read is reported and does not stop the others; the exit code is then 1.`,
    )
    .action((inputs: string[], options: DenseOptions) =>
      runDense(
        {
          model: 'segmenter',
          embedded: async () =>
            (await import('@pvt/checkpoints-microscopy')).microscopy['pvt_v2_nano.nuclei'],
          create: (checkpoint, taskOptions) => createModel(checkpoint, taskOptions, options),
        },
        inputs,
        options,
        io,
      ),
    );
}

async function createModel(
  checkpoint: Checkpoint,
  taskOptions: SegmenterOptions,
  options: DenseOptions,
): Promise<DenseModel> {
  const { createSegmenter } = await import('@pvt/tasks');
  const task = await createSegmenter(checkpoint, taskOptions);
  return {
    task,
    classes: task.model.parts.head.config.classes,
    predict: (input) => predict(task, input, options),
  };
}

async function predict(task: Segmenter, input: Input, { score }: DenseOptions): Promise<DenseResult> {
  const { labelMaps } = await import('@pvt/heads');
  const { fromFloat32 } = await import('@pvt/presets');
  const { transpose } = await import('@tensorflow/tfjs-core');
  const { names } = task;
  const { logits, sizes, contentSize } = await forward(task, input);
  const channelsFirst = transpose(logits, [0, 3, 1, 2]);
  try {
    const options = { scores: score !== undefined, ...(contentSize && { contentSize }) };
    const maps = (await labelMaps(logits, sizes, options)).map((map) => withoutUnsure(map, score));
    const values = await channelsFirst.data<'float32'>();
    return {
      images: await Promise.all(maps.map((map) => resultOf(map, names))),
      tensors: [['logits', fromFloat32(values, channelsFirst.shape)]],
      draw: await drawing(maps[0]!, names),
    };
  } finally {
    logits.dispose();
    channelsFirst.dispose();
  }
}

/** The logits, and the sizes that lead from them to the label map: of the input, and of the image. */
async function forward(
  task: Segmenter,
  input: Input,
): Promise<{ readonly logits: tf.Tensor4D; readonly sizes: readonly Size[]; readonly contentSize?: Size }> {
  const { isImage } = await import('@pvt/core');
  if (!isImage(input)) {
    const [, height, width] = input.shape;
    return { ...(await task.forward(input)), sizes: [[height, width]] };
  }
  const { logits, prepared } = await task.forward(input);
  const { contentSize, originalSize } = prepared.placement;
  return { logits, sizes: [prepared.size, originalSize], contentSize };
}

/** A label map whose pixels below the score have no class. */
function withoutUnsure(map: LabelMap, score: number | undefined): LabelMap {
  const { labels, scores } = map;
  if (score === undefined || scores === undefined) return map;
  return { ...map, labels: labels.map((label, i) => (scores[i]! < score ? unsure : label)) };
}

async function resultOf(map: LabelMap, names: readonly string[]): Promise<ImageResult> {
  const { maskToRle, rleToString } = await import('@pvt/heads');
  const classes = classesOf(map);
  const named = (label: number) => (names[label] ? { label, name: names[label] } : { label });
  const rows = classes.map(({ label, share }) => [
    label === unsure ? 'unsure' : names[label] || `class ${label}`,
    `${(100 * share).toFixed(1)} %`,
  ]);
  return {
    size: [map.height, map.width],
    json: {
      classes: classes.map(({ label, pixels, share }) => {
        const { size, counts } = maskToRle(map, label);
        return {
          ...(label === unsure ? { unsure: true } : named(label)),
          pixels,
          share,
          segmentation: { size, counts: rleToString(counts) },
        };
      }),
    },
    lines: table(rows).map((line, row) => `${line}  ${bar(classes[row]!.share)}`.trimEnd()),
  };
}

/** The classes in a label map, the largest first. */
function classesOf({
  labels,
}: LabelMap): { readonly label: number; readonly pixels: number; readonly share: number }[] {
  const counts = new Map<number, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return Array.from(counts, ([label, pixels]) => ({ label, pixels, share: pixels / labels.length })).sort(
    (a, b) => b.pixels - a.pixels || a.label - b.label,
  );
}

async function drawing(map: LabelMap, names: readonly string[]): Promise<DenseResult['draw']> {
  const { drawLabels } = await import('@pvt/draw');
  return (context) => drawLabels(context, map, { names, transparent: [unsure, names.indexOf('background')] });
}
