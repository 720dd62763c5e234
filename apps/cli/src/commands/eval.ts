import { Option, type Command } from 'commander';
import type { DataSet, Task } from '@pvt/data';
import type { Evaluation } from '@pvt/tasks/learning';
import { UsageError } from '../errors.ts';
import { note, paintFor, print, printJson, progress, type Io } from '../io.ts';
import { common, threadsOption, weightsOption, type CommonOptions } from '../options.ts';
import { bar, milliseconds, table } from '../text.ts';
import { scoreNames, sides, taskNames } from './train.ts';

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
      'Measures a classifier (accuracy), a segmenter (mean IoU) or a detector (mAP and mAP50, as COCO counts) on labelled images.',
    )
    .requiredOption('--data <folder>', 'the images: a folder per class; images and masks; Pascal VOC or COCO')
    .option(...weightsOption)
    .addOption(new Option('--split <name>', 'which part of the images').choices(splits).default('validation'))
    .option(
      '--size <sides>',
      'shorter and longer side in pixels that images are brought to (default: as the weights say)',
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
    .action(async (task: string, options: EvalOptions) => {
      if (!taskNames.includes(task as Task))
        throw new UsageError(`eval: expected ${taskNames.join(', ')}, got ${task}; name one of these.`);
      await run(task as Task, options, io);
    });
}

async function run(
  task: Task,
  { data: folder, weights, split, size, threads, backend, json }: EvalOptions,
  io: Io,
): Promise<void> {
  if (weights === undefined)
    throw new UsageError('eval: expected a checkpoint, got none; name one with --weights FILE.');
  const { readDataSet, labelledImages } = await import('@pvt/data');
  const { openCheckpoint } = await import('@pvt/presets');
  const { evaluateClassifier, evaluateDetector, evaluateSegmenter } = await import('@pvt/tasks/learning');
  const { createClassifier, createDetector, createSegmenter } = await import('@pvt/tasks/node');
  const { onThreads, startBackend } = await import('../backend.ts');
  const { fetchFiles } = await import('../fetch.ts');

  await startBackend(backend, io);
  const checkpoint = await openCheckpoint(
    await fetchFiles(weights, io),
    task === 'classify' ? {} : { classes: 0 },
  );
  const given = {
    warmUp: false,
    ...(await onThreads(threads)),
    ...(size && task !== 'classify' && { size: { shortSide: size[0], longSide: size[1] } }),
  };
  const model = { classify: createClassifier, segment: createSegmenter, detect: createDetector }[task](
    checkpoint,
    given,
  );
  const { names } = await model;
  // The weights' order of classes is what their answers are counted in.
  const found = await readDataSet(folder, task, names.length > 0 ? { classes: names } : {});
  for (const text of found.notes) note(io, text);
  const chosen = found[split] as DataSet<Task> | undefined;
  if (chosen === undefined)
    throw new UsageError(
      `eval: expected images for ${split} in ${folder}, got none; choose another --split.`,
    );
  let done = 0;
  const begun = performance.now();
  const metrics = await progress<Evaluation>(
    io,
    `measuring ${chosen.samples.length} images`,
    async (show) => {
      const counted = async function* () {
        for await (const truth of labelledImages(chosen)) {
          yield truth;
          done++;
          show(
            `${bar(done / chosen.samples.length).padEnd(bar(1).length, '░')} ${done} of ${chosen.samples.length}`,
          );
        }
      };
      const measure = { classify: evaluateClassifier, segment: evaluateSegmenter, detect: evaluateDetector }[
        task
      ];
      return measure((await model) as never, counted() as never);
    },
  );
  const time = (performance.now() - begun) / Math.max(1, done);
  const { score, ...measures } = metrics;
  if (json)
    return printJson(io, { data: folder, weights, split, images: done, ...measures, milliseconds: time });
  const paint = paintFor(io.stdout);
  print(
    io,
    `${paint.bold(`${scoreNames[task]} ${score.toFixed(4)}`)}${paint.dim(`  ${done} images of ${split}, ${milliseconds(time)} each`)}`,
  );
  for (const line of table(Object.entries(measures).map(([name, value]) => [`  ${name}`, value.toFixed(4)])))
    print(io, line);
}
