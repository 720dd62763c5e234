import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Batch, Task } from '@pvt/data';
import type { DoneEvent, TrainEvent, Validation } from '@pvt/training';
import { InterruptedError, UsageError } from '../errors.ts';
import { note, paintFor, print, progress, wipe, type Io } from '../io.ts';
import { common, count, seed, weightsOption, type CommonOptions } from '../options.ts';
import { bar, counted, wait } from '../text.ts';

const heads = ['unet', 'semanticFpn', 'segFormer', 'uperNet', 'linear'] as const;
export const taskNames = ['classify', 'segment', 'detect'] as const;

/** What each task's score is called. */
export const scoreNames: Readonly<Record<Task, string>> = {
  classify: 'accuracy',
  segment: 'mean IoU',
  detect: 'mAP50',
};

interface TrainArguments extends CommonOptions {
  readonly data?: string;
  readonly model?: string;
  readonly weights?: string;
  readonly scratch?: true;
  readonly freeze: 'none' | 'head-only' | `stage:${number}`;
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

const freeze = (text: string): TrainArguments['freeze'] => {
  if (text === 'none' || text === 'head-only' || /^stage:[1-4]$/.test(text))
    return text as TrainArguments['freeze'];
  throw new InvalidArgumentError(
    'Expected none, head-only, or the first stage that trains, such as stage:3.',
  );
};

const positive = (text: string): number => {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!(value > 0 && Number.isFinite(value)))
    throw new InvalidArgumentError('Expected a number above 0, such as 0.5.');
  return value;
};

/** One side of a square or two, the shorter first, in whole pixels. */
export const sides = (text: string): readonly [number, number] => {
  const [, first, second = first] = /^(\d{2,4})(?:[x×](\d{2,4}))?$/i.exec(text) ?? [];
  const pair = [Number(first), Number(second)] as const;
  if (!pair.every((side) => side >= 32 && side <= 4096))
    throw new InvalidArgumentError(
      'Expected one side or two in pixels, from 32 to 4096, such as 256 or 240x320.',
    );
  return pair;
};

export function train(program: Command, io: Io): void {
  common(program.command('train').argument('<task>', `what to learn: ${taskNames.join(', ')}`), {
    computes: true,
  })
    .summary('train a model on images of your own')
    .description(
      'Trains a classifier, a segmenter (U-Net by default) or a detector (RetinaNet) on a folder of images.',
    )
    .option('--data <folder>', 'the images: a folder per class; images and masks; Pascal VOC or COCO')
    .option('--model <name>', 'the variant, such as pvt_v2_nano, whose weights are embedded')
    .option(...weightsOption)
    .option('--scratch', 'begin with random numbers')
    .addOption(
      new Option(
        '--freeze <part>',
        'what stays as it is: head-only trains the head, stage:3 stages 3 and 4 and the head',
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
    .option('--layer-decay <factor>', 'how much slower each block below learns; 1: all alike', positive, 0.8)
    .addOption(new Option('--head <name>', 'what segments').choices(heads).default(undefined, 'unet'))
    .option(
      '--classes <names>',
      'names of the classes by index, with commas (default: as the data says)',
      (text: string) => text.split(',').map((name) => name.trim()),
    )
    .option('--turn', 'images have no up, as under a microscope: turn and mirror them every way')
    .option('--out <folder>', 'where the run goes (default: pvt-TASK)')
    .option('--save-every <seconds>', 'how often the state is saved for --resume', positive, 60)
    .option('--resume <folder>', 'go on with the run in this folder, with its own arguments')
    .option('--seed <number>', 'of all random numbers', seed, 0)
    .addHelpText(
      'after',
      `
The folder of --out holds:
  model.safetensors  the best model by validation, for pvt classify, segment, detect and eval
  curve.png          loss and score over time
  run.json           arguments, losses and scores; checkpoint-…/ is the last state, for --resume

Images to validate with are the data's own (val, validation or test folders or lists), else a fifth, held back.
--json tells every event as a line of JSON. Ctrl-C saves the state and stops; --resume goes on.

Examples:
  pvt train classify --data animals/ --model pvt_v2_nano --freeze head-only --epochs 5
  pvt train segment --data nuclei/ --classes background,nucleus --model pvt_v2_nano --size 256 --crop 128 --turn --minutes 50
  pvt train detect --data bccd/ --weights pvt_v2_b0.in1k --size 240x320 --turn --epochs 40
  pvt train detect --resume pvt-detect`,
    )
    .action(async (task: string, options: TrainArguments) => {
      if (!taskNames.includes(task as Task))
        throw new UsageError(`train: expected ${taskNames.join(', ')}, got ${task}; name one of these.`);
      await run(task as Task, options, io);
    });
}

/** What a run is told; with --resume, what it was told when it began. */
async function argumentsOf(
  task: Task,
  options: TrainArguments,
): Promise<{ readonly options: TrainArguments; readonly folder: string; readonly resumed: boolean }> {
  const { readRecord } = await import('../learning/run.ts');
  const { originOf } = await import('../model.ts');
  const { readdir } = await import('node:fs/promises');
  if (options.resume !== undefined) {
    const { arguments: given } = await readRecord(options.resume);
    if (given['task'] !== task)
      throw new UsageError(
        `train: expected to ${String(given['task'])}, as the run in ${options.resume} does, got ${task}; name its own task.`,
      );
    const { epochs, minutes } = options;
    const longer = { ...(epochs !== undefined && { epochs }), ...(minutes !== undefined && { minutes }) };
    return {
      options: {
        ...(given as unknown as TrainArguments),
        ...(options.json && { json: true }),
        backend: options.backend,
        ...longer,
      },
      folder: options.resume,
      resumed: true,
    };
  }
  if (options.data === undefined)
    throw new UsageError('train: expected a folder of images, got none; name it with --data.');
  if (options.epochs !== undefined && options.minutes !== undefined)
    throw new UsageError('train: expected --epochs or --minutes, got both; leave one out.');
  if (options.scratch && options.weights !== undefined)
    throw new UsageError('train: expected --weights or --scratch, got both; leave one out.');
  if (options.scratch && options.model === undefined)
    throw new UsageError(
      'train: expected a variant to begin from random numbers, got none; name it with --model.',
    );
  if (!options.scratch)
    originOf({
      ...(options.model !== undefined && { model: options.model }),
      ...(options.weights !== undefined && { weights: options.weights }),
    });
  if (options.head !== undefined && task !== 'segment')
    throw new UsageError(`train: expected --head with segment alone, got it with ${task}; leave it out.`);
  const folder = options.out ?? `pvt-${task}`;
  const there: readonly string[] = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new UsageError(
      `train: expected a folder to write to at ${folder}, got ${error.code === 'ENOTDIR' ? 'a file' : error.code}; choose another --out.`,
    );
  });
  if (there.length > 0)
    throw new UsageError(
      `train: expected ${folder} to be new or empty, got ${there.length} entries such as ${there[0]}; choose another --out${there.some((name) => name === 'run.json') ? `, or go on with --resume ${folder}` : ''}.`,
    );
  return { options, folder, resumed: false };
}

async function run(task: Task, given: TrainArguments, io: Io): Promise<void> {
  const { options, folder, resumed } = await argumentsOf(task, given);
  const { mkdir } = await import('node:fs/promises');
  const { join, resolve } = await import('node:path');
  const { createLoader, readDataSet, labelledImages } = await import('@pvt/data');
  const {
    adamW,
    allParameters,
    fromStage,
    headOnly,
    layerDecay,
    parametersOf,
    parameterTable,
    train: learn,
    warmupCosine,
  } = await import('@pvt/training');
  const { startBackend } = await import('../backend.ts');
  const { writeWhole } = await import('../files.ts');
  const { folderStore, modelFile, readRecord, readSnapshot } = await import('../learning/run.ts');
  const { asBatch, createLearningTask, sidesOf, startOf } = await import('../learning/tasks.ts');

  const record = resumed ? await readRecord(folder) : undefined;
  const data = await readDataSet(options.data!, task, {
    seed: options.seed,
    ...((record ?? options).classes && { classes: (record ?? options).classes! }),
  });
  const say = (text: string) => void (options.json || print(io, text));
  const paint = paintFor(io.stdout);
  say(`${paint.bold(options.data!)}  ${data.summary}`);
  for (const text of data.notes) note(io, text);

  await startBackend(options.backend, io);
  const { start, title } = await startOf(options, task, data.train.classes.length, io);
  const size = options.size ?? (task === 'classify' ? sidesOf(start.config) : ([512, 512] as const));
  const crop = options.crop ?? (task === 'classify' ? size : upToMultiple(size));
  const model = await createLearningTask(task, start, data.train as never, {
    size,
    crop,
    turn: options.turn === true,
    seed: options.seed,
    ...(options.head && { head: options.head }),
  });
  const batch = Math.min(
    options.batch ?? { classify: 32, segment: 8, detect: 4 }[task],
    data.train.samples.length,
  );
  const { learner } = model;
  const select =
    options.freeze === 'none'
      ? allParameters
      : options.freeze === 'head-only'
        ? headOnly
        : fromStage(Number(options.freeze.slice('stage:'.length)));
  say(
    paint.dim(
      `${title}; input ${model.input}, trained on ${crop.join('x')}, ${batch} images per step; ${options.backend}`,
    ),
  );
  say(`\n${parameterTable(learner.models, select)}\n`);

  const stopping = new AbortController();
  const interrupt = () => {
    note(io, 'stopping after this step; Ctrl-C again stops at once and keeps the checkpoint before.');
    stopping.abort(new InterruptedError('stopped.'));
    process.once('SIGINT', () => process.exit(130));
  };
  process.once('SIGINT', interrupt);
  const loader = createLoader(data.train, { ...model.loader, batch, seed: options.seed, dropLast: true });
  const losses: number[] = [...(record?.progress.losses ?? [])];
  const validations: Validation[] = [...(record?.progress.validations ?? [])];
  const curve = join(folder, 'curve.png');
  const plot = async (best: Validation | undefined) => {
    const { drawCurve } = await import('../plot/curve.ts');
    await writeWhole(
      curve,
      drawCurve(
        { losses, validations, ...(best && { best }) },
        { title: `pvt train ${task}, ${title.split(' from ')[0]}`, score: scoreNames[task] },
      ),
    );
  };
  try {
    await mkdir(folder, { recursive: true });
    const { json: _json, out: _out, resume: _resume, ...kept } = options;
    const store = await folderStore(folder, {
      arguments: { ...kept, task, data: resolve(options.data!) },
      classes: data.train.classes,
      encode: (weights) => learner.encode(weights),
    });
    let ended: DoneEvent | undefined;
    for await (const event of learn<Batch<Task>>(learner.models, {
      data: { length: loader.length, batches: (epoch) => loader.epoch(epoch) },
      loss: (one, context) => learner.loss(asBatch(one), context),
      examplesIn: ({ shape }) => shape[0],
      optimizer: adamW({
        learningRate: options.learningRate ?? 1e-3,
        groups: layerDecay(options.layerDecay, parametersOf(learner.models)),
      }),
      select,
      schedule: warmupCosine(),
      clip: 5,
      average: 0.998,
      seed: options.seed,
      ...(options.minutes === undefined ? { epochs: options.epochs ?? 10 } : { minutes: options.minutes }),
      // Validation sees whole images, and shall take a fraction of the time that training takes.
      validateEvery: Math.ceil(
        (2 * data.validation.samples.length * size[0] * size[1]) /
          (loader.length * batch * crop[0] * crop[1]),
      ),
      validate: () =>
        progress(io, 'validating', () => model.evaluate(labelledImages(data.validation) as never)),
      store,
      saveEvery: options.saveEvery,
      signal: stopping.signal,
      ...(record && { resume: await readSnapshot(folder, record) }),
    })) {
      if (event.kind === 'step') losses.push(event.loss);
      if (event.kind === 'validation') validations.push(event);
      if (event.kind === 'done') ended = event;
      if (!options.json) tell(event, task, io);
      else if (event.kind !== 'done') print(io, JSON.stringify(event));
      if (event.kind === 'validation' && event.best) await plot(event);
    }
    const { reason, step, seconds, best } = ended!;
    await plot(best);
    if (options.json)
      print(
        io,
        JSON.stringify({
          kind: 'done',
          reason,
          step,
          seconds,
          ...(best && { best }),
          model: join(folder, modelFile),
        }),
      );
    if (reason === 'aborted')
      throw new InterruptedError(
        `stopped after step ${step}; go on with pvt train ${task} --resume ${folder}.`,
      );
    say(
      `\n${paint.bold(`${scoreNames[task]} ${best!.metrics.score.toFixed(4)}`)}  after ${wait(seconds)} and ${counted(step, 'step')}`,
    );
    for (const [name, value] of Object.entries(best!.metrics))
      if (name !== 'score') say(`  ${name.padEnd(24)} ${value.toFixed(4)}`);
    say(
      `\nwritten: ${join(folder, modelFile)}, ${curve}\nnext: pvt ${task} IMAGE --weights ${join(folder, modelFile)}${task === 'classify' ? '' : ' --plot seen.png'}`,
    );
  } finally {
    process.off('SIGINT', interrupt);
    await loader.close();
    learner.dispose();
  }
}

/** Sides of a crop in whole multiples of the coarsest stride, lying as most images do. */
const upToMultiple = ([shorter, longer]: readonly [number, number]): readonly [number, number] => [
  Math.ceil(shorter / 32) * 32,
  Math.ceil(longer / 32) * 32,
];

/** Events for people: each step on one line of a terminal, epochs and validations to stay. */
function tell(event: TrainEvent, task: Task, io: Io): void {
  const { stderr } = io;
  if (event.kind === 'step' && stderr.isTTY) {
    const { progress: share, loss, examplesPerSecond, secondsLeft, step } = event;
    const line = `${bar(share).padEnd(bar(1).length, '░')} ${Math.floor(100 * share)} %  step ${step}  loss ${loss.toFixed(3)}  ${examplesPerSecond.toFixed(1)} images/s  ${wait(secondsLeft)} left`;
    stderr.write(`${wipe(stderr)}${paintFor(stderr).dim(line.slice(0, (stderr.columns ?? 80) - 1))}`);
  } else if (event.kind === 'epoch') {
    stderr.write(wipe(stderr));
    print(io, `epoch ${event.epoch}  step ${event.step}  loss ${event.loss.toFixed(4)}`);
  } else if (event.kind === 'validation') {
    stderr.write(wipe(stderr));
    print(
      io,
      `  ${scoreNames[task]} ${event.metrics.score.toFixed(4)}${event.best ? '  the best so far' : ''}`,
    );
  }
}
