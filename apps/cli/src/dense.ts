import { fileURLToPath } from 'node:url';
import type { Image, Size } from '@pvt/core';
import type { CanvasContext } from '@pvt/draw';
import type { Checkpoint, TensorEntry } from '@pvt/presets';
import type { SegmenterOptions, Task } from '@pvt/tasks';
import type * as tf from '@tensorflow/tfjs-core';
import type { Command } from 'commander';
import { ReportedError, report, sentence } from './errors.ts';
import type { Input } from './input.ts';
import { note, paintFor, print, printJson, progress, type Io } from './io.ts';
import {
  common,
  inputArgument,
  labelsOption,
  pathOf,
  share,
  size,
  threadsOption,
  weightsOption,
  type CommonOptions,
} from './options.ts';
import { by, milliseconds } from './text.ts';

/** The options of `pvt segment` and `pvt detect`. */
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

/** What a model found in one image. */
export interface ImageResult {
  readonly size: Size;
  /** Fields for `--json`. */
  readonly json: object;
  /** The same for people. */
  readonly lines: readonly string[];
}

/** What a model found in the images of one input. */
export interface DenseResult {
  readonly images: readonly ImageResult[];
  /** The tensors of `--out`. */
  readonly tensors: readonly (readonly [name: string, entry: TensorEntry])[];
  /** Draws what was found in the first image onto it. */
  draw(context: CanvasContext): void;
}

/** A segmenter or detector, with its results as the command shows them. */
export interface DenseModel {
  readonly task: Task;
  readonly classes: number;
  predict(input: Input): Promise<DenseResult>;
}

/** What distinguishes `pvt segment` from `pvt detect`. */
export interface DenseCommand {
  /** What the command's models are called. */
  readonly model: 'segmenter' | 'detector';
  embedded(): Promise<{ readonly url: URL; readonly about: string }>;
  create(checkpoint: Checkpoint, options: SegmenterOptions): Promise<DenseModel>;
}

/** Adds what both commands have in common. */
export const denseOptions = (
  command: Command,
  { score, sides }: { readonly score: string; readonly sides: string },
): Command =>
  common(command, { computes: true })
    .argument(...inputArgument)
    .option(
      weightsOption[0],
      'a checkpoint with such a head (safetensors, or what torch.save writes): file, folder, URL, ' +
        'hub repository or published name (default: an embedded demonstration)',
    )
    .option(
      '--config <file>',
      "the backbone's architecture as JSON, ours or a Hugging Face config.json (default: as the weights say)",
    )
    .option(...labelsOption)
    .option('--score <share>', score, share)
    .option(
      '--size <sides>',
      'shorter and longer side in pixels that images are resized to, keeping their aspect ratio ' +
        `(default: ${sides})`,
      size,
    )
    .option(...threadsOption)
    .option('--out <file>', 'write the results as .safetensors, see below', pathOf('.safetensors'))
    .option('--plot <file>', 'draw the results onto the image as .png', pathOf('.png'));

/**
 * Runs a model on every input and shows what it found. An input that cannot be read does not stop the others.
 */
export async function runDense(
  command: DenseCommand,
  inputs: readonly string[],
  options: DenseOptions,
  io: Io,
): Promise<void> {
  const { checkOutputs } = await import('./files.ts');
  const outs = numbered(options.out, inputs.length);
  const plots = numbered(options.plot, inputs.length);
  await checkOutputs(
    [...outs, ...plots],
    [...inputs, options.weights, options.config, options.labels].filter((file) => file !== undefined),
  );
  const { model, title } = await load(command, options, io);
  try {
    if (model.task.names.length === 0) note(io, 'the classes have no names here; --labels FILE gives them.');
    if (!options.json) {
      const device = options.threads > 1 ? `${options.threads} threads` : options.backend;
      print(io, paintFor(io.stdout).dim(`${title}; ${device}`));
    }
    const records: object[] = [];
    const written: string[] = [];
    for (const [index, input] of inputs.entries()) {
      const paths = { out: outs[index], plot: plots[index] };
      try {
        const found = await progress(io, input, () => predictFile(input, model));
        const files = await writeFiles(found, paths, title);
        written.push(...Object.values(files));
        records.push(...found.images.map((image) => ({ ...recordOf(image), ...files })));
        if (!options.json) printImages(found.images, io);
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

/** A file for each input; for several, numbered from 1. */
function numbered(path: string | undefined, inputs: number): readonly string[] {
  if (path === undefined) return [];
  if (inputs === 1) return [path];
  return Array.from({ length: inputs }, (_, i) => path.replace(/(\.[^.]+)$/, `-${i + 1}$1`));
}

/** The model that the options name, and what it is, for people. */
async function load(
  command: DenseCommand,
  options: DenseOptions,
  io: Io,
): Promise<{ readonly model: DenseModel; readonly title: string }> {
  const { openCheckpoint } = await import('@pvt/presets');
  const { runnerFor, startBackend } = await import('./backend.ts');
  const { fetchFiles } = await import('./fetch.ts');
  const { checkLabels, readLabels } = await import('./labels.ts');
  const { noteGaps, readConfig } = await import('./model.ts');

  const embedded = options.weights === undefined ? await command.embedded() : undefined;
  const weights = options.weights ?? fileURLToPath(embedded!.url);
  const names = options.labels === undefined ? undefined : await readLabels(options.labels);
  const config = options.config === undefined ? undefined : (await readConfig(options.config)).config;
  const files = await fetchFiles(weights, io);
  return progress(io, 'loading the model', async () => {
    await startBackend(options.backend, io);
    const checkpoint = await openCheckpoint(files, { classes: 0, ...(config && { config }) });
    const model = await command.create(checkpoint, {
      warmUp: false,
      ...(await runnerFor(options.threads)),
      ...(names && { names }),
      ...(options.size && {
        size: { shortSide: Math.min(...options.size), longSide: Math.max(...options.size) },
      }),
    });
    try {
      const { task, classes } = model;
      noteGaps(weights, { unexpected: task.report?.unexpected ?? [], assumed: checkpoint.assumed }, io);
      if (names) checkLabels(names, classes);
      const variant = checkpoint.model ?? `PVT ${checkpoint.config.version}`;
      const origin = embedded ? `the embedded demonstration: ${embedded.about}` : weights;
      return { model, title: `${variant}, a ${command.model} of ${classes} classes from ${origin}` };
    } catch (error) {
      model.task.dispose();
      throw error;
    }
  });
}

/** One image of an input, with its name and share of the time. */
interface NamedResult extends ImageResult {
  readonly name: string;
  readonly milliseconds: number;
}

/** What was found in the images of a file. */
interface FileResult extends Pick<DenseResult, 'tensors' | 'draw'> {
  readonly input: string;
  readonly images: readonly NamedResult[];
  /** What to draw onto: the image, or the first of a tensor file. */
  readonly background: Image;
}

async function predictFile(path: string, model: DenseModel): Promise<FileResult> {
  const { isImage } = await import('@pvt/core');
  const { disposeInput, readInput } = await import('./input.ts');
  const start = performance.now();
  const input = await readInput(path, 3);
  try {
    const { images, tensors, draw } = await model.predict(input);
    const elapsed = (performance.now() - start) / images.length;
    return {
      input: path,
      images: images.map((image, row) => ({
        ...image,
        name: isImage(input) ? path : `${path}[${row}]`,
        milliseconds: elapsed,
      })),
      tensors,
      draw,
      background: isImage(input) ? input : await firstImage(input),
    };
  } finally {
    disposeInput(input);
  }
}

/** Writes the files that were asked for, and says which. */
async function writeFiles(
  result: FileResult,
  { out, plot }: { readonly out: string | undefined; readonly plot: string | undefined },
  title: string,
): Promise<Readonly<Record<string, string>>> {
  const { writeWhole } = await import('./files.ts');
  const { writeSafetensors } = await import('@pvt/presets');
  if (out !== undefined)
    await writeWhole(out, writeSafetensors(result.tensors, { model: title, input: result.input }));
  if (plot !== undefined) await writeWhole(plot, await draw(result));
  return { ...(out !== undefined && { out }), ...(plot !== undefined && { plot }) };
}

const recordOf = ({ name, size, json, milliseconds: elapsed }: NamedResult): object => ({
  input: name,
  size,
  ...json,
  milliseconds: elapsed,
});

function printImages(images: readonly NamedResult[], io: Io): void {
  const paint = paintFor(io.stdout);
  for (const { name, size: sides, lines, milliseconds: elapsed } of images) {
    print(io, `\n${paint.bold(name)}${paint.dim(`  ${by(sides)}  ${milliseconds(elapsed)}`)}`);
    for (const line of lines) print(io, `  ${line}`);
  }
}

/** The first of a batch as an image, on the assumption that it was normalized as for ImageNet. */
async function firstImage(tensor: tf.Tensor4D): Promise<Image> {
  const { imageNetNormalization } = await import('@pvt/core');
  const { mean, std } = imageNetNormalization;
  const [, height, width] = tensor.shape;
  const values = (await tensor.data<'float32'>()).subarray(0, height * width * 3);
  const pixels = Uint8ClampedArray.from(values, (value, i) => 255 * (value * std[i % 3]! + mean[i % 3]!));
  return { height, width, data: new Uint8Array(pixels) };
}

async function draw({ background, draw: drawOnto }: FileResult): Promise<Uint8Array> {
  const { drawImage } = await import('@pvt/draw');
  const { createCanvas } = await import('./plot/canvas.ts');
  const canvas = createCanvas(background.width, background.height);
  const context = canvas.getContext('2d');
  drawImage(context, background);
  drawOnto(context);
  return canvas.toBuffer('image/png');
}
