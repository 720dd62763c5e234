import { join, resolve } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { PvtConfigInput } from '@pvt/core';
import type { LoadedDataSet } from '@pvt/data';
import type { Finetuning, Initialization } from '@pvt/finetune';
import type { RunRecord } from '@pvt/finetune/folder';
import type { ModelName } from '@pvt/presets';
import type { DoneEvent, Selection, TrainEvent, Validation } from '@pvt/training';
import { InterruptedError, UsageError } from '../errors.ts';
import { note, paintFor, print, progress, wipe, type Io } from '../io.ts';
import {
  checkTask,
  common,
  count,
  dataOption,
  positive,
  seed,
  sides,
  taskNames,
  weightsOption,
  type CommonOptions,
  type TaskName,
} from '../options.ts';
import type { drawCurve } from '../plot/curve.ts';
import { counted, progressBar, scoreNames, wait } from '../text.ts';

const heads = ['unet', 'semanticFpn', 'segFormer', 'uperNet', 'linear'] as const;

type Freeze = 'none' | 'head-only' | `stage:${number}`;

interface TrainOptions extends CommonOptions {
  readonly data?: string;
  readonly model?: string;
  readonly weights?: string;
  readonly scratch?: true;
  readonly freeze: Freeze;
  readonly epochs?: number;
  readonly minutes?: number;
  readonly size?: readonly [number, number];
  readonly crop?: readonly [number, number];
  readonly batch?: number;
  readonly learningRate?: number;
  readonly layerDecay: number;
  readonly head?: (typeof heads)[number];
  readonly classes?: readonly string[];
  readonly turn?: true;
  readonly saveEvery: number;
  readonly out?: string;
  readonly resume?: string;
  readonly seed: number;
}

const freeze = (text: string): Freeze => {
  if (text === 'none' || text === 'head-only') return text;
  const [, stage] = /^stage:([1-4])$/.exec(text) ?? [];
  if (stage !== undefined) return `stage:${Number(stage)}`;
  throw new InvalidArgumentError(
    'Expected none, head-only, or the first stage that trains, such as stage:3.',
  );
};

const classNames = (text: string): string[] => text.split(',').map((name) => name.trim());

export function train(program: Command, io: Io): void {
  common(program.command('train').argument('<task>', `what to learn: ${taskNames.join(', ')}`), {
    computes: true,
  })
    .summary('train a model on images of your own')
    .description(
      'Trains a classifier, a segmenter (a U-Net by default) or a detector (RetinaNet) ' +
        'on a folder of images.',
    )
    .option(...dataOption)
    .option('--model <name>', 'the variant, such as pvt_v2_nano, whose weights are embedded')
    .option(...weightsOption)
    .option('--scratch', 'start from random numbers')
    .addOption(
      new Option(
        '--freeze <part>',
        'what does not train: head-only trains the head alone, stage:3 stages 3 and 4 and the head',
      )
        .argParser(freeze)
        .default('none'),
    )
    .option('--epochs <count>', 'passes over the images (default: 10)', count)
    .option('--minutes <count>', 'train for so long instead', positive)
    .option('--size <sides>', "the model's input: shorter and longer side in pixels, one for a square", sides)
    .option('--crop <sides>', 'train on crops of this size: faster, more varied (default: --size)', sides)
    .option('--batch <count>', 'images per step (default: 32 to classify, 8 to segment, 4 to detect)', count)
    .option('--learning-rate <rate>', 'of AdamW at its highest (default: 0.001)', positive)
    .option(
      '--layer-decay <factor>',
      "each block's learning rate as a share of the next block's; 1: all alike",
      positive,
      0.8,
    )
    .addOption(new Option('--head <name>', 'what segments').choices(heads).default(undefined, 'unet'))
    .option(
      '--classes <names>',
      'class names by index, separated by commas (default: as the data says)',
      classNames,
    )
    .option('--turn', 'images have no upright, as under a microscope: rotate and mirror them every way')
    .option('--out <folder>', 'where the run is written (default: pvt-TASK)')
    .option('--save-every <seconds>', 'how often the state is saved for --resume', positive, 60)
    .option('--resume <folder>', 'continue the run in this folder, with its own arguments')
    .option('--seed <number>', 'of all random numbers', seed, 0)
    .addHelpText(
      'after',
      `
The folder of --out holds:
  model.safetensors  the best model by validation, for pvt classify, segment, detect and eval
  curve.png          loss and score over time
  run.json           arguments, losses and scores; checkpoint-…/ is the last state, for --resume

Validation uses the images that the data has for it (folders or lists called val, validation or test), else
a fifth of all, which is held out. --json prints every event as a line of JSON. Ctrl-C saves the state and
stops; --resume continues.

Examples:
  pvt train classify --data animals/ --model pvt_v2_nano --freeze head-only --epochs 5
  pvt train segment --data nuclei/ --classes background,nucleus --model pvt_v2_nano --size 256 --crop 128 \\
    --turn --minutes 50
  pvt train detect --data bccd/ --weights pvt_v2_b0.in1k --size 240x320 --turn --epochs 40
  pvt train detect --resume pvt-detect`,
    )
    .action((task: string, options: TrainOptions) => run(checkTask('train', task), options, io));
}

/** What a command line asks for; with --resume, what the run was started with. */
interface Plan {
  readonly task: TaskName;
  readonly options: TrainOptions & { readonly data: string };
  /** Where the run is written. */
  readonly folder: string;
  /** The run to continue. */
  readonly record?: RunRecord;
}

async function run(task: TaskName, given: TrainOptions, io: Io): Promise<void> {
  const plan =
    given.resume === undefined ? await planNew(task, given) : await planResumed(task, given, given.resume);
  const { options, folder } = plan;
  const { mkdir } = await import('node:fs/promises');
  const { createFinetuning } = await import('@pvt/finetune');
  const { startBackend } = await import('../backend.ts');

  const data = await readData(plan, io);
  await startBackend(options.backend, io);
  const { init, title } = await initialize(plan, data.train.classes.length, io);
  const finetuning = await createFinetuning({
    task,
    init,
    data,
    ...(options.size && { size: options.size }),
    ...(options.crop && { crop: options.crop }),
    ...(options.batch !== undefined && { batch: options.batch }),
    ...(options.head && { head: options.head }),
    anyOrientation: options.turn === true,
    seed: options.seed,
  });
  const interruption = onInterrupt(io);
  try {
    const select = await selectionOf(options.freeze);
    if (!options.json) await printModel(finetuning, title, select, plan, io);
    await mkdir(folder, { recursive: true });
    const done = await trainAll(finetuning, plan, { title, select, signal: interruption.signal }, io);
    report(done, plan, io);
  } finally {
    interruption.stop();
    await finetuning.close();
  }
}

/** @throws UsageError for arguments that contradict each other, name no model, or a folder that is in use */
async function planNew(task: TaskName, options: TrainOptions): Promise<Plan> {
  const { originOf } = await import('../model.ts');
  const { data, epochs, minutes, scratch, weights, model, head } = options;
  const fail = (expected: string, got: string, remedy: string): never => {
    throw new UsageError(`train: expected ${expected}, got ${got}; ${remedy}.`);
  };
  if (data === undefined) return fail('a folder of images', 'none', 'name it with --data');
  if (epochs !== undefined && minutes !== undefined) fail('--epochs or --minutes', 'both', 'leave one out');
  if (scratch && weights !== undefined) fail('--weights or --scratch', 'both', 'leave one out');
  if (scratch && model === undefined)
    fail('a variant to start from random numbers', 'none', 'name it with --model');
  if (!scratch)
    originOf({ ...(model !== undefined && { model }), ...(weights !== undefined && { weights }) });
  if (head !== undefined && task !== 'segment')
    fail('--head with segment alone', `it with ${task}`, 'leave it out');
  const folder = options.out ?? `pvt-${task}`;
  await checkUnused(folder);
  return { task, options: { ...options, data }, folder };
}

/** @throws UsageError if the folder holds files already */
async function checkUnused(folder: string): Promise<void> {
  const { readdir } = await import('node:fs/promises');
  const files: readonly string[] = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new UsageError(
      `train: expected a folder to write to at ${folder}, ` +
        `got ${error.code === 'ENOTDIR' ? 'a file' : error.code}; choose another --out.`,
    );
  });
  if (files.length === 0) return;
  const resuming = files.includes('run.json') ? `, or continue with --resume ${folder}` : '';
  throw new UsageError(
    `train: expected ${folder} to be new or empty, got ${files.length} entries such as ${files[0]}; ` +
      `choose another --out${resuming}.`,
  );
}

/** The arguments of a run that is continued. Only how long it trains may change. */
async function planResumed(task: TaskName, given: TrainOptions, folder: string): Promise<Plan> {
  const { readRun } = await import('@pvt/finetune/folder');
  const record = await readRun(folder);
  // What we wrote ourselves when the run was started.
  const started = record.arguments as unknown as Plan['options'] & { readonly task: string };
  if (started.task !== task)
    throw new UsageError(
      `train: expected to ${started.task}, as the run in ${folder} does, got ${task}; name its own task.`,
    );
  const { epochs, minutes, json, backend } = given;
  const options = {
    ...started,
    ...(json && { json }),
    backend,
    ...(epochs !== undefined && { epochs }),
    ...(minutes !== undefined && { minutes }),
  };
  return { task, options, folder, record };
}

async function readData({ task, options, record }: Plan, io: Io): Promise<LoadedDataSet<TaskName>> {
  const { readDataSet } = await import('@pvt/data');
  const { classes } = record ?? options;
  const data = await readDataSet(options.data, task, { seed: options.seed, ...(classes && { classes }) });
  if (!options.json) print(io, `${paintFor(io.stdout).bold(options.data)}  ${data.summary}`);
  for (const text of data.notes) note(io, text);
  return data;
}

/** What the model starts from: --weights, the variant's embedded weights, or random numbers. */
async function initialize(
  { task, options: { model, weights, scratch, seed: first } }: Plan,
  classes: number,
  io: Io,
): Promise<{ readonly init: Initialization; readonly title: string }> {
  const { fromScratch } = await import('@pvt/finetune');
  const { openCheckpoint } = await import('@pvt/presets');
  const { fetchFiles } = await import('../fetch.ts');
  const { embeddedPath, presetOf } = await import('../model.ts');
  if (scratch) {
    const { pvtConfig } = await import('@pvt/core');
    const config = pvtConfig<PvtConfigInput>({
      ...presetOf(model!).config,
      classes: task === 'classify' ? classes : 0,
    });
    return { init: fromScratch(config, first), title: `${model} from random numbers` };
  }
  const checkpoint = await openCheckpoint(await fetchFiles(weights ?? embeddedPath, io), {
    ...(model !== undefined && { config: model as ModelName }),
    ...(task === 'classify' ? { classes, seed: first } : { classes: 0 }),
  });
  const variant = checkpoint.model ?? `PVT ${checkpoint.config.version}`;
  return { init: checkpoint, title: `${variant} from ${weights ?? 'its embedded weights'}` };
}

async function selectionOf(frozen: Freeze): Promise<Selection> {
  const { allParameters, fromStage, headOnly } = await import('@pvt/training');
  if (frozen === 'none') return allParameters;
  return frozen === 'head-only' ? headOnly : fromStage(Number(frozen.slice('stage:'.length)));
}

async function printModel(
  { learner, size, crop, batch }: Finetuning<TaskName>,
  title: string,
  select: Selection,
  { task, options }: Plan,
  io: Io,
): Promise<void> {
  const { parameterTable } = await import('@pvt/training');
  const input = task === 'classify' ? crop.join('x') : `shorter side ${size[0]}`;
  const feed = `input ${input}, trained on ${crop.join('x')}, ${batch} images per step`;
  print(io, paintFor(io.stdout).dim(`${title}; ${feed}; ${options.backend}`));
  print(io, `\n${parameterTable(learner.models, select)}\n`);
}

/** Stops the run after its step at the first Ctrl-C, and the process at the second. */
function onInterrupt(io: Io): { readonly signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  const interrupt = () => {
    note(io, 'stopping after this step; Ctrl-C again stops at once, with the last checkpoint retained.');
    controller.abort(new InterruptedError('stopped.'));
    process.once('SIGINT', () => process.exit(130));
  };
  process.once('SIGINT', interrupt);
  return { signal: controller.signal, stop: () => void process.off('SIGINT', interrupt) };
}

/** Trains to the end, shows every event and draws the curve. */
async function trainAll(
  finetuning: Finetuning<TaskName>,
  { task, options, folder, record }: Plan,
  {
    title,
    select,
    signal,
  }: { readonly title: string; readonly select: Selection; readonly signal: AbortSignal },
  io: Io,
): Promise<DoneEvent> {
  const { createRunFolder, readSnapshot } = await import('@pvt/finetune/folder');
  const { json: _json, out: _out, resume: _resume, ...started } = options;
  const store = createRunFolder(folder, {
    arguments: { ...started, task, data: resolve(options.data) },
    classes: finetuning.loader.classes,
    encode: (weights) => finetuning.learner.encode(weights),
  });
  const losses: number[] = [...(record?.progress.losses ?? [])];
  const validations: Validation[] = [...(record?.progress.validations ?? [])];
  const plotTitle = `pvt train ${task}, ${title.split(' from ')[0]}`;
  const plot = (best: Validation | undefined) =>
    plotCurve(
      curveOf(folder),
      { losses, validations, ...(best && { best }) },
      { title: plotTitle, score: scoreNames[task] },
    );

  let done: DoneEvent | undefined;
  for await (const event of finetuning.train({
    select,
    ...(options.learningRate !== undefined && { learningRate: options.learningRate }),
    layerDecay: options.layerDecay,
    ...(options.minutes === undefined ? { epochs: options.epochs ?? 10 } : { minutes: options.minutes }),
    validate: () => progress(io, 'validating', () => finetuning.evaluate()),
    store,
    saveEvery: options.saveEvery,
    signal,
    ...(record && { resume: await readSnapshot(folder, record) }),
  })) {
    if (event.kind === 'step') losses.push(event.loss);
    if (event.kind === 'validation') validations.push(event);
    if (event.kind === 'done') done = event;
    if (!options.json) printEvent(event, task, io);
    else if (event.kind !== 'done') print(io, JSON.stringify(event));
    if (event.kind === 'validation' && event.best) await plot(event);
  }
  await plot(done!.best);
  return done!;
}

const modelOf = (folder: string): string => join(folder, 'model.safetensors');
const curveOf = (folder: string): string => join(folder, 'curve.png');

async function plotCurve(path: string, ...curve: Parameters<typeof drawCurve>): Promise<void> {
  const { drawCurve: draw } = await import('../plot/curve.ts');
  const { writeWhole } = await import('../files.ts');
  await writeWhole(path, draw(...curve));
}

/** Says how the run ended. @throws InterruptedError if it was stopped */
function report({ reason, step, seconds, best }: DoneEvent, { task, options, folder }: Plan, io: Io): void {
  const model = modelOf(folder);
  if (options.json)
    print(io, JSON.stringify({ kind: 'done', reason, step, seconds, ...(best && { best }), model }));
  if (reason === 'aborted')
    throw new InterruptedError(
      `stopped after step ${step}; continue with pvt train ${task} --resume ${folder}.`,
    );
  if (options.json) return;
  const { score, ...measures } = best!.metrics;
  const headline = paintFor(io.stdout).bold(`${scoreNames[task]} ${score.toFixed(4)}`);
  print(io, `\n${headline}  after ${wait(seconds)} and ${counted(step, 'step')}`);
  for (const [name, value] of Object.entries(measures))
    print(io, `  ${name.padEnd(24)} ${value!.toFixed(4)}`);
  const plotting = task === 'classify' ? '' : ' --plot seen.png';
  print(io, `\nwritten: ${model}, ${curveOf(folder)}\nnext: pvt ${task} IMAGE --weights ${model}${plotting}`);
}

/** Events for people: each step replaces the one before on a terminal; epochs and validations stay. */
function printEvent(event: TrainEvent, task: TaskName, io: Io): void {
  const { stderr } = io;
  if (event.kind === 'step' && stderr.isTTY) {
    const { progress: share, loss, examplesPerSecond, secondsLeft, step } = event;
    const line = [
      `${progressBar(share)} ${Math.floor(100 * share)} %`,
      `step ${step}`,
      `loss ${loss.toFixed(3)}`,
      `${examplesPerSecond.toFixed(1)} images/s`,
      `${wait(secondsLeft)} left`,
    ].join('  ');
    stderr.write(`${wipe(stderr)}${paintFor(stderr).dim(line.slice(0, (stderr.columns ?? 80) - 1))}`);
  } else if (event.kind === 'epoch') {
    stderr.write(wipe(stderr));
    print(io, `epoch ${event.epoch}  step ${event.step}  loss ${event.loss.toFixed(4)}`);
  } else if (event.kind === 'validation') {
    stderr.write(wipe(stderr));
    const score = `${scoreNames[task]} ${event.metrics.score.toFixed(4)}`;
    print(io, `  ${score}${event.best ? '  the best so far' : ''}`);
  }
}
