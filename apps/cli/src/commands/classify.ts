import type { Size } from '@pvt/core';
import type { Classifier } from '@pvt/tasks';
import type { Command } from 'commander';
import { ReportedError, report, sentence, UsageError, WorkError } from '../errors.ts';
import { note, paintFor, print, printJson, progress, type Io } from '../io.ts';
import {
  common,
  count,
  inputArgument,
  labelsOption,
  threadsOption,
  weightsOption,
  type CommonOptions,
} from '../options.ts';
import { bar, by, milliseconds, table } from '../text.ts';

interface ClassifyOptions extends CommonOptions {
  readonly model?: string;
  readonly weights?: string;
  readonly config?: string;
  readonly labels?: string;
  readonly top: number;
  readonly threads: number;
}

/** One of the most probable classes, as `--json` shows it. */
interface Prediction {
  readonly index: number;
  readonly label?: string;
  readonly probability: number;
  readonly logit: number;
}

type Result =
  | { readonly input: string; readonly predictions: readonly Prediction[]; readonly milliseconds: number }
  | { readonly input: string; readonly error: string };

export function classify(program: Command, io: Io): void {
  common(program.command('classify'), { computes: true })
    .summary('say what is in images')
    .description(
      'Says what is in images. Without --model and --weights the embedded checkpoint is used: pvt_v2_nano, ' +
        'a demonstration that knows the ten classes of CIFAR-10.',
    )
    .argument(...inputArgument)
    .option(
      '--model <name>',
      'a variant, see pvt models (default: as the weights say, else the embedded pvt_v2_nano)',
    )
    .option(...weightsOption)
    .option(
      '--config <file>',
      'the architecture as JSON, ours or a Hugging Face config.json, whose class names are used',
    )
    .option(...labelsOption)
    .option('--top <n>', 'predictions to show per image', count, 5)
    .option(...threadsOption)
    .addHelpText(
      'after',
      `
Examples:
  pvt classify photo.jpg
  pvt classify *.jpg --top 1
  pvt classify *.jpg --weights pvt_v2_b2.in1k --threads 2
  pvt classify photo.jpg --weights pvt_v2_b2.pth --labels imagenet.tsv --json

An image that cannot be read is reported and does not stop the others; the exit code is then 1.`,
    )
    .action((inputs: string[], options: ClassifyOptions) => run(inputs, options, io));
}

async function run(inputs: readonly string[], options: ClassifyOptions, io: Io): Promise<void> {
  const { classifier, title } = await load(inputs, options, io);
  try {
    if (classifier.names.length === 0) note(io, 'the classes have no names here; --labels FILE gives them.');
    if (!options.json) {
      const device = options.threads > 1 ? `${options.threads} threads` : options.backend;
      print(io, paintFor(io.stdout).dim(`${title}; ${device}`));
    }
    const results: Result[] = [];
    for (const input of inputs) {
      try {
        const found = await progress(io, input, () => classifyFile(input, classifier, options.top));
        if (!options.json) printImages(found, io);
        results.push(
          ...found.map(({ name, predictions, elapsed }) => ({
            input: name,
            predictions,
            milliseconds: elapsed,
          })),
        );
      } catch (error) {
        if (error instanceof UsageError) throw error;
        report(error, io, `${input}: `);
        results.push({ input, error: sentence(error) });
      }
    }
    if (options.json) printJson(io, results);
    if (results.some((result) => 'error' in result)) throw new ReportedError();
  } finally {
    classifier.dispose();
  }
}

/** The classifier that the arguments name. */
async function load(
  inputs: readonly string[],
  options: ClassifyOptions,
  io: Io,
): Promise<{ readonly classifier: Classifier; readonly title: string }> {
  const { embeddedModel, originOf, readModel } = await import('../model.ts');
  const unnamed =
    options.model === undefined && options.weights === undefined && options.config === undefined;
  const named = unnamed ? { ...options, model: embeddedModel } : options;
  originOf(named);
  const { createPvtClassifier } = await import('@pvt/heads');
  const { createClassifier } = await import('@pvt/tasks');
  const { runnerFor, startBackend } = await import('../backend.ts');
  const { isTensorFile } = await import('../input.ts');
  const { checkLabels, readLabels } = await import('../labels.ts');

  const given = options.labels === undefined ? undefined : await readLabels(options.labels);
  return progress(io, 'loading the model', async () => {
    await startBackend(options.backend, io);
    const { config, source, title, preprocessing, warning, ...model } = await readModel(named, io);
    if (config.classes === 0)
      throw new WorkError(
        `classify: expected a model with a classifier, got ${title}, which has none; ` +
          'use pvt features, or other weights.',
      );
    const labels = given ?? model.labels;
    if (labels) checkLabels(labels, config.classes);
    if (warning && !inputs.every(isTensorFile)) note(io, warning);
    const classifier = await createClassifier(
      { model: createPvtClassifier(config, source), preprocessing },
      { ...(labels && { names: labels }), warmUp: false, ...(await runnerFor(options.threads)) },
    );
    return { classifier, title };
  });
}

/** What was found in one image of a file. */
interface Classified {
  readonly name: string;
  /** The image's own, if the file is an image. */
  readonly size: Size | undefined;
  readonly predictions: readonly Prediction[];
  /** Milliseconds, an equal share for each image of a file. */
  readonly elapsed: number;
}

/** The predictions for an image, or for each row of a tensor file. */
async function classifyFile(path: string, classifier: Classifier, top: number): Promise<Classified[]> {
  const { isImage } = await import('@pvt/core');
  const { topK } = await import('@pvt/heads');
  const { disposeInput, readInput } = await import('../input.ts');
  const { model, names } = classifier;
  const start = performance.now();
  const input = await readInput(path, model.config.channels);
  const image = isImage(input) ? input : undefined;
  const { logits } = await classifier.forward(input).finally(() => disposeInput(input));
  try {
    const [rows, classes] = logits.shape;
    const values = await logits.data<'float32'>();
    if (!values.every(Number.isFinite))
      throw new WorkError(
        "expected finite numbers out of the model, got others; are these the model's weights?",
      );
    const elapsed = (performance.now() - start) / rows;
    return (await topK(logits, top)).map((best, row) => ({
      name: image ? path : `${path}[${row}]`,
      size: image && [image.height, image.width],
      predictions: best.map(({ label, probability }) => ({
        index: label,
        ...(names.length > 0 && { label: names[label]! }),
        probability,
        logit: values[row * classes + label]!,
      })),
      elapsed,
    }));
  } finally {
    logits.dispose();
  }
}

function printImages(images: readonly Classified[], io: Io): void {
  const paint = paintFor(io.stdout);
  for (const { name, size, predictions, elapsed } of images) {
    const details = `  ${size ? `${by(size)}  ` : ''}${milliseconds(elapsed)}`;
    print(io, `\n${paint.bold(name)}${paint.dim(details)}`);
    for (const [index, line] of predictionLines(predictions).entries())
      print(io, index === 0 ? paint.green(line) : line);
  }
}

/** Most characters of a class name. */
const labelWidth = 40;

function predictionLines(predictions: readonly Prediction[]): string[] {
  const names = predictions
    .map(({ label, index }) => label ?? `class ${index}`)
    .map((name) => (name.length > labelWidth ? `${name.slice(0, labelWidth - 1)}…` : name));
  const rows = predictions.map(({ probability }, row) => [
    `  ${names[row]}`,
    `${(100 * probability).toFixed(1)} %`,
  ]);
  return table(rows, 1).map((line, row) => `${line}  ${bar(predictions[row]!.probability)}`.trimEnd());
}
