import type { LabelMap } from '@pvt/core';
import type { Command } from 'commander';
import { denseOptions, runDense, type DenseOptions } from '../dense.ts';
import type { Io } from '../io.ts';
import { bar, table } from '../text.ts';

/** In place of a class where the best one is not sure enough; no model has as many classes. */
const unsure = 65_535;

export function segment(program: Command, io: Io): void {
  const command = denseOptions(program.command('segment'), {
    score: 'least probability of a class, 0 to 1; pixels below it stay without one',
    sides: '512x2048',
  })
    .summary('tell the class of every pixel of images')
    .description(
      "Tells the class of every pixel of images, with a PVT and mmsegmentation's semantic FPN or UPerNet, SegFormer's, a U-Net's or a linear head.",
    )
    .addHelpText(
      'after',
      `
--out holds:
  logits  (N, classes, h, w)  float32, before the softmax, as large as the head makes them

--json gives each class's pixels as COCO run lengths. Of several inputs, --out and --plot are numbered: seen.png
becomes seen-1.png, seen-2.png and so on.

Examples:
  pvt segment street.jpg --weights fpn_pvt_v2_b0_ade20k.pth --labels ade20k.txt --plot seen.png
  pvt segment *.jpg --weights fpn_pvt_v2_b0_ade20k.pth --score 0.5 --json
  pvt segment input.safetensors --weights fpn_pvt_v2_b0_ade20k.pth --out logits.safetensors

An image that cannot be read is reported and does not stop the others; the exit code is 1 then.`,
    );

  command.action((inputs: string[], options: DenseOptions) =>
    runDense(
      {
        name: 'segment',
        model: 'segmenter',
        embedded: async () => (await import('@pvt/checkpoints-microscopy')).microscopy['pvt_v2_nano.nuclei'],
      },
      inputs,
      options,
      io,
      async (checkpoint, taskOptions) => {
        const { drawLabels } = await import('@pvt/draw');
        const { rleToString, labelMaps, maskToRle } = await import('@pvt/heads');
        const { fromFloat32 } = await import('@pvt/presets');
        const { createSegmenter } = await import('@pvt/tasks');
        const { tidy, transpose } = await import('@tensorflow/tfjs-core');

        const task = await createSegmenter(checkpoint, taskOptions);
        const { parts, names } = task;
        return {
          task,
          classes: parts.head.config.classes,
          async answer(input) {
            let logits;
            let sizes: readonly (readonly [height: number, width: number])[];
            let contentSize: readonly [height: number, width: number] | undefined;
            if ('image' in input) {
              const { prepared, ...forward } = await task.forward(input.image);
              logits = forward.logits;
              sizes = [prepared.size, prepared.placement.originalSize];
              ({ contentSize } = prepared.placement);
            } else {
              const { tensor } = input;
              logits = tidy(() => {
                const { pyramid } = parts.backbone.forward(tensor);
                return parts.head.forward(parts.neck === undefined ? pyramid : parts.neck.forward(pyramid));
              });
              sizes = [[tensor.shape[1], tensor.shape[2]]];
            }
            const moved = transpose(logits, [0, 3, 1, 2]);
            try {
              const scores = options.score !== undefined;
              const maps = (
                await labelMaps(logits, sizes, { scores, ...(contentSize && { contentSize }) })
              ).map((map) => sure(map, options.score));
              return {
                images: maps.map((map) => {
                  const found = classesOf(map);
                  return {
                    size: [map.height, map.width] as const,
                    json: {
                      classes: found.map(({ label, ...counts }) => {
                        const { size, counts: runs } = maskToRle(map, label);
                        return {
                          ...(label === unsure
                            ? { unsure: true }
                            : { label, ...(names[label] && { name: names[label] }) }),
                          ...counts,
                          segmentation: { size, counts: rleToString(runs) },
                        };
                      }),
                    },
                    lines: table(
                      found.map(({ label, share }) => [
                        label === unsure ? 'unsure' : names[label] || `class ${label}`,
                        `${(100 * share).toFixed(1)} %`,
                      ]),
                    ).map((line, row) => `${line}  ${bar(found[row]!.share)}`.trimEnd()),
                  };
                }),
                tensors: [['logits', fromFloat32((await moved.data()) as Float32Array, moved.shape)]],
                draw: (context) =>
                  drawLabels(context, maps[0]!, {
                    names,
                    transparent: [unsure, names.indexOf('background')],
                  }),
              };
            } finally {
              logits.dispose();
              moved.dispose();
            }
          },
        };
      },
    ),
  );
}

/** A map whose pixels below the score have no class. */
function sure(map: LabelMap, score: number | undefined): LabelMap {
  const { labels, scores } = map;
  return score === undefined || scores === undefined
    ? map
    : { ...map, labels: labels.map((label, i) => (scores[i]! < score ? unsure : label)) };
}

/** The classes that a map has, the largest first. */
function classesOf({
  labels,
}: LabelMap): { readonly label: number; readonly pixels: number; readonly share: number }[] {
  const pixels = new Map<number, number>();
  for (const label of labels) pixels.set(label, (pixels.get(label) ?? 0) + 1);
  return Array.from(pixels, ([label, count]) => ({
    label,
    pixels: count,
    share: count / labels.length,
  })).sort((a, b) => b.pixels - a.pixels || a.label - b.label);
}
