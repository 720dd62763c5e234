import type { Detection, RetinaNetLevel } from '@pvt/heads';
import type { TensorEntry } from '@pvt/presets';
import type * as tf from '@tensorflow/tfjs-core';
import type { Command } from 'commander';
import { denseOptions, runDense, type DenseOptions } from '../dense.ts';
import { UsageError } from '../errors.ts';
import type { Io } from '../io.ts';
import { table } from '../text.ts';

interface RawOptions extends DenseOptions {
  readonly raw?: true;
}

export function detect(program: Command, io: Io): void {
  const command = denseOptions(program.command('detect'), {
    score: 'least score of an object, 0 to 1 (default: as the implementation has it, 0.05)',
    sides: '800x1333',
  })
    .summary('find objects in images')
    .description(
      'Finds objects in images with a RetinaNet on a PVT: checkpoints of mmdetection, as the official detectors are, or of torchvision.',
    )
    .option('--raw', 'what the head says of every anchor too, in --out')
    .addHelpText(
      'after',
      `
--out holds:
  boxes      (K, 4)      float32, left, top, right, bottom in the image's own pixels, best first
  scores     (K)         float32
  labels     (K)         int32, the class's index
  images   (K)         int32, which of the N inputs, where N is more than one
  cls{level} (N, 9 classes, h, w)   with --raw: logits, before the sigmoid; levels count from 0, the finest
  reg{level} (N, 9 x 4, h, w)       with --raw: what each anchor has to move by

Of several inputs, --out and --plot are numbered: found.png becomes found-1.png, found-2.png and so on.

Examples:
  pvt detect street.jpg --weights retinanet_pvt_v2_b0.pth --plot found.png
  pvt detect *.jpg --weights retinanet_pvt_v2_b0.pth --score 0.5 --json
  pvt detect street.jpg --weights retinanet_pvt_v2_b0.pth --out found.safetensors --raw

An image that cannot be read is reported and does not stop the others; the exit code is 1 then.`,
    );

  command.action(async (inputs: string[], options: RawOptions) => {
    if (options.raw && options.out === undefined)
      throw new UsageError('--raw: expected --out FILE.safetensors beside it, got none; say where to write.');
    await runDense(
      {
        name: 'detect',
        model: 'detector',
        embedded: async () => (await import('@pvt/checkpoints-microscopy')).microscopy['pvt_v2_nano.bccd'],
      },
      inputs,
      options,
      io,
      async (checkpoint, taskOptions) => {
        const { drawDetections } = await import('@pvt/draw');
        const { detect: detectIn } = await import('@pvt/heads');
        const { fromFloat32 } = await import('@pvt/presets');
        const { createDetector } = await import('@pvt/tasks');
        const { tidy } = await import('@tensorflow/tfjs-core');

        const task = await createDetector(checkpoint, taskOptions);
        const { parts, names } = task;
        const { classes, rules: published } = parts.head.config;
        const rules = { ...published, ...(options.score !== undefined && { scoreThreshold: options.score }) };
        return {
          task,
          classes,
          async answer(input) {
            const { levels, prepared } =
              'image' in input
                ? await task.forward(input.image)
                : {
                    levels: tidy(
                      () =>
                        parts.head.forward(
                          parts.neck.forward(parts.backbone.forward(input.tensor).pyramid),
                        ) as unknown as tf.TensorContainer,
                    ) as unknown as RetinaNetLevel[],
                    prepared: undefined,
                  };
            try {
              const size =
                prepared?.size ??
                ((input as { readonly tensor: tf.Tensor4D }).tensor.shape.slice(1, 3) as [number, number]);
              const found = await detectIn(levels, {
                rules,
                input: size,
                ...(prepared && { images: [prepared.placement] }),
              });
              const all = found.flat();
              const integers = (name: string, values: readonly number[]) =>
                [name, fromFloat32(values, [values.length], 'I32')] as const;
              return {
                images: found.map((objects) => ({
                  size: prepared?.placement.originalSize ?? size,
                  json: { detections: objects.map((object) => named(object, names)) },
                  lines: linesOf(objects, names, rules.scoreThreshold),
                })),
                tensors: [
                  [
                    'boxes',
                    fromFloat32(
                      all.flatMap(({ box }) => box),
                      [all.length, 4],
                    ),
                  ],
                  [
                    'scores',
                    fromFloat32(
                      all.map(({ score }) => score),
                      [all.length],
                    ),
                  ],
                  integers(
                    'labels',
                    all.map(({ label }) => label),
                  ),
                  ...(found.length > 1
                    ? [
                        integers(
                          'images',
                          found.flatMap((objects, i) => objects.map(() => i)),
                        ),
                      ]
                    : []),
                  ...(options.raw ? await rawOutputs(levels) : []),
                ],
                draw: (context) =>
                  drawDetections(
                    context,
                    found[0]!.map((object) => ({ ...object, name: nameOf(object, names) })),
                  ),
              };
            } finally {
              for (const { logits, deltas } of levels)
                for (const tensor of [logits, deltas]) tensor.dispose();
            }
          },
        };
      },
    );
  });
}

/** An object as `--json` tells of it, with its class's name where that is known. */
const named = ({ label, score, box }: Detection, names: readonly string[]) => ({
  label,
  ...(names[label] && { name: names[label] }),
  score,
  box,
});

/** Of torchvision's classes, some have no name. */
const nameOf = ({ label }: Detection, names: readonly string[]): string => names[label] || `class ${label}`;

/** Objects that a terminal shows of an image. */
const listed = 20;

function linesOf(objects: readonly Detection[], names: readonly string[], score: number): string[] {
  if (objects.length === 0) return [`nothing above ${score}`];
  const rows = objects
    .slice(0, listed)
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

/** The head's outputs as maps (N, C, h, w), the way its convolutions make them. */
async function rawOutputs(levels: readonly RetinaNetLevel[]): Promise<(readonly [string, TensorEntry])[]> {
  const { fromFloat32 } = await import('@pvt/presets');
  const { reshape, tidy, transpose } = await import('@tensorflow/tfjs-core');
  const map = async (name: string, rows: tf.Tensor3D, [height, width]: readonly [number, number]) => {
    const [batch] = rows.shape;
    const moved = tidy(() => transpose(reshape(rows, [batch, height, width, -1]), [0, 3, 1, 2]));
    const entry = fromFloat32((await moved.data()) as Float32Array, moved.shape);
    moved.dispose();
    return [name, entry] as const;
  };
  return Promise.all(
    levels.flatMap(({ logits, deltas, grid }, i) => [
      map(`cls${i}`, logits, grid),
      map(`reg${i}`, deltas, grid),
    ]),
  );
}
