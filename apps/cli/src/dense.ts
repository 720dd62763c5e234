import { fileURLToPath } from 'node:url';
import type { Image, InputSize } from '@pvt/core';
import type { CanvasContext } from '@pvt/draw';
import type { Checkpoint, TensorEntry } from '@pvt/presets';
import type { Task, TaskOptions } from '@pvt/tasks';
import type * as tf from '@tensorflow/tfjs-core';
import type { Command } from 'commander';
import { ReportedError, report, sentence } from './errors.ts';
import { note, paintFor, print, printJson, progress, type Io } from './io.ts';
import { common, pathOf, share, size, threadsOption, weightsOption, type CommonOptions } from './options.ts';
import { by, milliseconds } from './text.ts';

export interface DenseOptions extends CommonOptions {
  readonly weights?: string;
  readonly config?: string;
  readonly labels?: string;
  readonly score?: number;
  readonly size?: readonly [number, number];
  readonly threads: number;
  readonly out?: string;
  readonly plot?: string;
}

/** An image, or numbers [N, H, W, 3] that go into the model as they are. */
export type DenseInput = { readonly image: Image } | { readonly tensor: tf.Tensor4D };

/** What a model says of an input: for each of its images, and all of them together. */
export interface DenseAnswer {
  readonly images: readonly {
    readonly size: readonly [height: number, width: number];
    /** What `--json` tells besides. */
    readonly json: object;
    /** The same for people. */
    readonly lines: readonly string[];
  }[];
  /** What `--out` holds. */
  readonly tensors: readonly (readonly [name: string, entry: TensorEntry])[];
  /** Draws what was found in the first image onto it. */
  draw(context: CanvasContext): void;
}

/** A model that tells what is where. */
export interface DenseModel {
  readonly task: Task;
  readonly classes: number;
  answer(input: DenseInput): Promise<DenseAnswer>;
}

/** Adds what the commands with a head of their own have in common. */
export const denseOptions = (
  command: Command,
  { score, sides }: { readonly score: string; readonly sides: string },
): Command =>
  common(command, { computes: true })
    .argument('<input...>', 'images, or .safetensors holding input: float32 (N,3,H,W), already normalised')
    .option(
      weightsOption[0],
      'a checkpoint with such a head (safetensors, or what torch.save writes): file, folder, URL, hub repository or published name (default: an embedded demonstration)',
    )
    .option(
      '--config <file>',
      "the backbone's architecture as JSON, ours or a Hugging Face config.json (default: as the weights say)",
    )
    .option(
      '--labels <file>',
      'class names: one a line, a JSON array or object by index, or columns divided by tabs',
    )
    .option('--score <share>', score, share)
    .option(
      '--size <sides>',
      `shorter and longer side in pixels that images are brought to, keeping their shape (default: ${sides})`,
      size,
    )
    .option(...threadsOption)
    .option('--out <file>', 'write the results as .safetensors, see below', pathOf('.safetensors'))
    .option('--plot <file>', 'draw the results onto the image as .png', pathOf('.png'));

/** A file for each input: of several, numbered from 1. */
const numbered = (path: string | undefined, inputs: number): readonly string[] =>
  path === undefined
    ? []
    : inputs === 1
      ? [path]
      : Array.from({ length: inputs }, (_, i) => path.replace(/(\.[^.]+)$/, `-${i + 1}$1`));

/** Runs a model over the inputs and tells what it found. An input that cannot be read does not stop the others. */
export async function runDense(
  command: {
    readonly name: string;
    readonly model: string;
    readonly embedded: () => Promise<{ readonly url: URL; readonly about: string }>;
  },
  inputs: readonly string[],
  options: DenseOptions,
  io: Io,
  create: (
    checkpoint: Checkpoint,
    options: TaskOptions & { readonly size?: Partial<InputSize> },
  ) => Promise<DenseModel>,
): Promise<void> {
  const embedded = options.weights === undefined ? await command.embedded() : undefined;
  const weights = options.weights ?? fileURLToPath(embedded!.url);
  const { checkOutputs, writeWhole } = await import('./files.ts');
  const outs = numbered(options.out, inputs.length);
  const plots = numbered(options.plot, inputs.length);
  await checkOutputs(
    [...outs, ...plots],
    [...inputs, options.weights, options.config, options.labels].filter((file) => file !== undefined),
  );
  const { readImage } = await import('@pvt/adapter-image');
  const { openCheckpoint, writeSafetensors } = await import('@pvt/presets');
  const { onThreads, startBackend } = await import('./backend.ts');
  const { fetchFiles } = await import('./fetch.ts');
  const { isTensorFile, readTensor } = await import('./input.ts');
  const { checkLabels, readLabels } = await import('./labels.ts');
  const { noteGaps, readConfig } = await import('./model.ts');

  const names = options.labels === undefined ? undefined : await readLabels(options.labels);
  const config = options.config === undefined ? undefined : (await readConfig(options.config)).config;
  const files = await fetchFiles(weights, io);
  const { model, title } = await progress(io, 'loading the model', async () => {
    await startBackend(options.backend, io);
    const checkpoint = await openCheckpoint(files, { classes: 0, ...(config && { config }) });
    const loaded = await create(checkpoint, {
      warmUp: false,
      ...(await onThreads(options.threads)),
      ...(names && { names }),
      ...(options.size && {
        size: { shortSide: Math.min(...options.size), longSide: Math.max(...options.size) },
      }),
    });
    noteGaps(weights, { unexpected: loaded.task.report?.unexpected ?? [], assumed: checkpoint.assumed }, io);
    return {
      model: loaded,
      title: `${checkpoint.model ?? `PVT ${checkpoint.config.version}`}, a ${command.model} of ${loaded.classes} classes from ${embedded ? `the embedded demonstration: ${embedded.about}` : weights}`,
    };
  });
  try {
    if (names) checkLabels(names, model.classes);
    if (model.task.names.length === 0) note(io, 'the classes have no names here; --labels FILE gives them.');
    const paint = paintFor(io.stdout);
    if (!options.json)
      print(
        io,
        paint.dim(`${title}; ${options.threads > 1 ? `${options.threads} threads` : options.backend}`),
      );

    if (options.threads > 1 && inputs.some(isTensorFile))
      note(io, '--threads: images run on them, numbers from a file in tfjs, on one.');

    const records: object[] = [];
    const written: string[] = [];
    for (const [index, input] of inputs.entries()) {
      const [out, plot] = [outs[index], plots[index]];
      try {
        const { answer, background, elapsed } = await progress(io, input, async () => {
          const start = performance.now();
          const read: DenseInput = isTensorFile(input)
            ? { tensor: await readTensor(input, 3) }
            : { image: await readImage(input) };
          try {
            const found = await model.answer(read);
            return {
              answer: found,
              elapsed: performance.now() - start,
              background: 'image' in read ? read.image : await firstImage(read.tensor),
            };
          } finally {
            if ('tensor' in read) read.tensor.dispose();
          }
        });
        if (out !== undefined)
          await writeWhole(out, writeSafetensors(answer.tensors, { model: title, input }));
        if (plot !== undefined) await writeWhole(plot, await drawOnto(background, answer));
        const made = { ...(out !== undefined && { out }), ...(plot !== undefined && { plot }) };
        written.push(...Object.values(made));

        for (const [row, { size: sides, json, lines }] of answer.images.entries()) {
          const name = isTensorFile(input) ? `${input}[${row}]` : input;
          const time = elapsed / answer.images.length;
          records.push({ input: name, size: sides, ...json, milliseconds: time, ...made });
          if (options.json) continue;
          print(io, `\n${paint.bold(name)}${paint.dim(`  ${by(sides)}  ${milliseconds(time)}`)}`);
          for (const line of lines) print(io, `  ${line}`);
        }
      } catch (error) {
        report(error, io, `${input}: `);
        records.push({ input, error: sentence(error) });
      }
    }
    if (options.json) printJson(io, records);
    else if (written.length > 0) print(io, `\nwritten: ${written.join(', ')}`);
    if (records.some((record) => 'error' in record)) throw new ReportedError();
  } finally {
    model.task.dispose();
  }
}

/** The first of a batch as an image, taken for normalised as ImageNet's images are. */
async function firstImage(tensor: tf.Tensor4D): Promise<Image> {
  const { getModel } = await import('@pvt/presets');
  const { mean, std } = getModel('pvt_v2_b0').preprocessing.official.normalize;
  const [, height, width] = tensor.shape;
  const values = ((await tensor.data()) as Float32Array).subarray(0, height * width * 3);
  return {
    height,
    width,
    data: new Uint8Array(
      Uint8ClampedArray.from(values, (value, i) => 255 * (value * std[i % 3]! + mean[i % 3]!)),
    ),
  };
}

async function drawOnto(image: Image, answer: DenseAnswer): Promise<Uint8Array> {
  const { drawImage } = await import('@pvt/draw');
  const { createCanvas } = await import('./plot/canvas.ts');
  const canvas = createCanvas(image.width, image.height);
  const context = canvas.getContext('2d');
  drawImage(context, image);
  answer.draw(context);
  return canvas.toBuffer('image/png');
}
