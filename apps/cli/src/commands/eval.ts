import { Option, type Command } from 'commander';
import type { Task } from '@pvt/data';
import type { Evaluation } from '@pvt/finetune';
import { UsageError } from '../errors.ts';
import { note, paintFor, print, printJson, progress, type Io } from '../io.ts';
import {
  checkTask,
  common,
  dataOption,
  sides,
  taskNames,
  threadsOption,
  weightsOption,
  type CommonOptions,
} from '../options.ts';
import { milliseconds, progressBar, scoreNames, table } from '../text.ts';

const splits = ['validation', 'test', 'train'] as const;

interface EvalOptions extends CommonOptions {
  readonly data: string;
  readonly weights?: string;
  readonly split: (typeof splits)[number];
  readonly size?: readonly [number, number];
  readonly threads: number;
}

export function evaluate(program: Command, io: Io): void {
  common(program.command('eval').argument('<task>', `what is measured: ${taskNames.join(', ')}`), {
    computes: true,
  })
    .summary('measure a model on labelled images')
    .description(
      'Measures a classifier (accuracy), a segmenter (mean IoU) or a detector (mAP and mAP50, as COCO ' +
        'does) on labelled images.',
    )
    .requiredOption(...dataOption)
    .option(...weightsOption)
    .addOption(new Option('--split <name>', 'which of the images').choices(splits).default('validation'))
    .option(
      '--size <sides>',
      'shorter and longer side in pixels that images are resized to (default: as the weights say)',
      sides,
    )
    .option(...threadsOption)
    .addHelpText(
      'after',
      `
The classes of the data have to be those of the weights.

Examples:
  pvt eval detect --data bccd/ --weights pvt-detect/model.safetensors --split test
  pvt eval classify --data cifar10/ --weights pvt_v2_nano.safetensors --json`,
    )
    .action((task: string, options: EvalOptions) => run(checkTask('eval', task), options, io));
}

async function run(task: Task, options: EvalOptions, io: Io): Promise<void> {
  const { data: folder, weights, split, size, threads, backend, json } = options;
  if (weights === undefined)
    throw new UsageError('eval: expected a checkpoint, got none; name one with --weights FILE.');
  const { createEvaluator } = await import('@pvt/finetune');
  const { openCheckpoint } = await import('@pvt/presets');
  const { runnerFor, startBackend } = await import('../backend.ts');
  const { fetchFiles } = await import('../fetch.ts');

  await startBackend(backend, io);
  const files = await fetchFiles(weights, io);
  const checkpoint = await openCheckpoint(files, task === 'classify' ? {} : { classes: 0 });
  const evaluator = await createEvaluator(task, checkpoint, {
    warmUp: false,
    ...(await runnerFor(threads)),
    ...(size && task !== 'classify' && { size: { shortSide: size[0], longSide: size[1] } }),
  });
  try {
    const { labelledImages } = await import('@pvt/data');
    const data = await readSplit(task, options, evaluator.names, io);
    const total = data.samples.length;
    let count = 0;
    const start = performance.now();
    const { score, ...measures } = await progress<Evaluation>(io, `measuring ${total} images`, (show) => {
      const images = async function* () {
        for await (const image of labelledImages(data)) {
          yield image;
          count++;
          show(`${progressBar(count / total)} ${count} of ${total}`);
        }
      };
      return evaluator.evaluate(images());
    });
    const elapsed = (performance.now() - start) / Math.max(1, count);
    if (json)
      return printJson(io, {
        data: folder,
        weights,
        split,
        images: count,
        ...measures,
        milliseconds: elapsed,
      });
    const paint = paintFor(io.stdout);
    const details = `  ${count} images of ${split}, ${milliseconds(elapsed)} each`;
    print(io, `${paint.bold(`${scoreNames[task]} ${score.toFixed(4)}`)}${paint.dim(details)}`);
    const rows = Object.entries(measures).map(([name, value]) => [`  ${name}`, value.toFixed(4)]);
    for (const line of table(rows)) print(io, line);
  } finally {
    evaluator.dispose();
  }
}

/**
 * The images to measure on, their classes in the order of the weights, by whose indices predictions name
 * them.
 */
async function readSplit(task: Task, { data: folder, split }: EvalOptions, names: readonly string[], io: Io) {
  const { readDataSet } = await import('@pvt/data');
  const found = await readDataSet(folder, task, names.length > 0 ? { classes: names } : {});
  for (const text of found.notes) note(io, text);
  const data = found[split];
  if (data === undefined)
    throw new UsageError(
      `eval: expected images for ${split} in ${folder}, got none; choose another --split.`,
    );
  return data;
}
