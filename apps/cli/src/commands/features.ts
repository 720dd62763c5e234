import type { FeatureMap, Size } from '@pvt/core';
import type * as tf from '@tensorflow/tfjs-core';
import { Option, type Command } from 'commander';
import { WorkError } from '../errors.ts';
import type { LoadedModel } from '../model.ts';
import { note, paintFor, print, printJson, progress, type Io } from '../io.ts';
import { common, pathOf, seed, weightsOption, type CommonOptions } from '../options.ts';
import { by, milliseconds, table } from '../text.ts';

interface FeaturesOptions extends CommonOptions {
  readonly model?: string;
  readonly weights?: string;
  readonly init?: number;
  readonly config?: string;
  readonly out?: string;
  readonly plot?: string;
  readonly attentions?: true;
}

/** A result as files hold it. */
interface Result {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

export function features(program: Command, io: Io): void {
  common(program.command('features'), { computes: true })
    .summary('compute the feature pyramid of an image, as numbers and as a plot')
    .description(
      'Computes the feature pyramid of an image: a map for each stage, each coarser and deeper than the ' +
        'one before.',
    )
    .argument(
      '<input>',
      'an image, or .safetensors holding input: float32 (N,3,H,W), already normalized, any size',
    )
    .option('--model <name>', 'a variant, see pvt models; pvt_v2_nano has its weights embedded')
    .option(...weightsOption)
    .addOption(
      new Option('--init <seed>', 'random weights, the same ones for the same seed')
        .argParser(seed)
        .conflicts('weights'),
    )
    .option('--config <file>', 'the architecture as JSON, ours or a Hugging Face config.json')
    .option('--out <file>', 'write the results as .safetensors, see below', pathOf('.safetensors'))
    .option('--plot <file>', 'draw the pyramid as .png', pathOf('.png'))
    .option('--attentions', 'attention maps too, in --out, --plot and --json')
    .addHelpText(
      'after',
      `
--out holds, in float32:
  stage1, stage2, ...          (N, C, h, w)        the pyramid, finest first
  embedding                    (N, C)
  logits                       (N, classes)        if the model has a classifier
  attention.{stage}.{block}    (N, heads, Nq, Nk)  with --attentions; stages count from 1, blocks from 0

Examples:
  pvt features photo.jpg --model pvt_v2_nano --plot pyramid.png
  pvt features photo.jpg --weights pvt_v2_b2.in1k --out features.safetensors
  pvt features input.safetensors --model pvt_v2_b0 --init 42 --attentions --out features.safetensors`,
    )
    .action((path: string, options: FeaturesOptions) => run(path, options, io));
}

async function run(path: string, options: FeaturesOptions, io: Io): Promise<void> {
  const { originOf, loadModel, readModel } = await import('../model.ts');
  originOf(options);
  const { checkOutputs } = await import('../files.ts');
  await checkOutputs(
    [options.out, options.plot],
    [path, options.weights, options.config].filter((file) => file !== undefined),
  );
  const { startBackend } = await import('../backend.ts');

  const model = await progress(io, 'loading the model', async () => {
    await startBackend(options.backend, io);
    return loadModel(await readModel(options, io));
  });
  const owned: Disposable[] = [model];
  try {
    const { tensor, size } = await prepare(path, model, io);
    owned.push(tensor);
    const start = performance.now();
    const output = await progress(
      io,
      `computing ${model.title} at ${tensor.shape[1]}x${tensor.shape[2]}`,
      () => forward(model, tensor, options.attentions === true, owned),
    );
    const results = await readResults(output);
    const elapsed = performance.now() - start;
    const attentions = await readAttentions(output);
    const computed: Computed = { path, tensor, size, model, output, results, attentions, elapsed };
    await writeFiles(computed, options, io);
    if (options.json) printRecord(computed, options, io);
    else printResults(computed, options, io);
  } finally {
    for (const resource of owned) resource.dispose();
  }
}

interface Disposable {
  dispose(): void;
}

/** What a forward pass gives; logits if the model has a classifier. */
interface Output {
  readonly pyramid: readonly FeatureMap[];
  readonly embedding: tf.Tensor2D;
  readonly logits: tf.Tensor2D | undefined;
  /** By stage and block; empty unless asked for. */
  readonly attentions: readonly (readonly tf.Tensor4D[])[];
}

/** Everything that the command shows. */
interface Computed {
  readonly path: string;
  /** The model's input. */
  readonly tensor: tf.Tensor4D;
  /** The image's own size, if the input is an image. */
  readonly size: Size | undefined;
  readonly model: LoadedModel;
  readonly output: Output;
  readonly results: readonly Result[];
  readonly attentions: readonly Result[];
  /** Milliseconds. */
  readonly elapsed: number;
}

/** The model's input from a file. */
async function prepare(
  path: string,
  { config, preprocessing, warning }: LoadedModel,
  io: Io,
): Promise<{ readonly tensor: tf.Tensor4D; readonly size: Size | undefined }> {
  const { preprocess } = await import('@pvt/adapter-image');
  const { isImage } = await import('@pvt/core');
  const { isTensorFile, readInput } = await import('../input.ts');
  if (warning && !isTensorFile(path)) note(io, warning);
  return progress(io, `reading ${path}`, async () => {
    const input = await readInput(path, config.channels);
    return isImage(input)
      ? { tensor: preprocess(input, preprocessing), size: [input.height, input.width] as const }
      : { tensor: input, size: undefined };
  });
}

/** Runs the model; its outputs are added to `owned` as they come. */
function forward(
  { backbone, head }: LoadedModel,
  tensor: tf.Tensor4D,
  withAttentions: boolean,
  owned: Disposable[],
): Output {
  const { pyramid, embedding, attentions } = withAttentions
    ? backbone.forward(tensor, { attentions: true })
    : { ...backbone.forward(tensor), attentions: [] };
  owned.push(...pyramid.map((level) => level.tensor), embedding, ...attentions.flat());
  const logits = head?.forward(embedding);
  if (logits) owned.push(logits);
  return { pyramid, embedding, logits, attentions };
}

/** @throws WorkError if a result is not finite */
async function readResults({ pyramid, embedding, logits }: Output): Promise<Result[]> {
  const results: Result[] = [];
  for (const level of pyramid) results.push(await readChannelsFirst(level.name, level.tensor));
  results.push(await read('embedding', embedding));
  if (logits) results.push(await read('logits', logits));
  const broken = results.find(({ values }) => !values.every(Number.isFinite));
  if (broken)
    throw new WorkError(
      `features: expected finite numbers, got others in ${broken.name}; are these the model's weights?`,
    );
  return results;
}

async function readAttentions({ attentions }: Output): Promise<Result[]> {
  const results: Result[] = [];
  for (const [stage, blocks] of attentions.entries()) {
    for (const [block, map] of blocks.entries())
      results.push(await read(`attention.${stage + 1}.${block}`, map));
  }
  return results;
}

async function writeFiles(computed: Computed, { out, plot }: FeaturesOptions, io: Io): Promise<void> {
  const { writeWhole } = await import('../files.ts');
  if (out !== undefined) {
    const { fromFloat32, writeSafetensors } = await import('@pvt/presets');
    const { path, model, results, attentions } = computed;
    const entries = [...results, ...attentions].map(
      ({ name, shape, values }) => [name, fromFloat32(values, shape)] as const,
    );
    await writeWhole(out, writeSafetensors(entries, { model: model.title, input: path }));
  }
  if (plot !== undefined) await writeWhole(plot, await progress(io, `drawing ${plot}`, () => draw(computed)));
}

async function draw({ path, tensor, size, model, output, attentions }: Computed): Promise<Uint8Array> {
  const { cost } = await import('@pvt/core');
  const { drawPyramid } = await import('../plot/pyramid.ts');
  const { config, preprocessing, title } = model;
  const [batch, height, width] = tensor.shape;
  const lastOf = (stage: number) =>
    attentions.filter(({ name }) => name.startsWith(`attention.${stage + 1}.`)).at(-1)!;
  return drawPyramid({
    title,
    subtitle: `${path}${size ? `, ${by(size)}` : ''}${batch > 1 ? `, the first of ${batch}` : ''}`,
    input: {
      height,
      width,
      values: await tensor.data<'float32'>(),
      normalize: preprocessing.normalize,
    },
    config,
    stages: cost(config, [height, width]).stages,
    levels: await Promise.all(output.pyramid.map((level) => level.tensor.data<'float32'>())),
    attentions: output.attentions.map((_, stage) => lastOf(stage)),
  });
}

/** A result's shape and statistics; the stride of a level of the pyramid. */
const rowsOf = ({ results, output }: Computed) =>
  results.map(({ name, shape, values }, index) => ({
    name,
    ...(output.pyramid[index] && { stride: output.pyramid[index].stride }),
    shape,
    ...statistics(values),
  }));

function printRecord(computed: Computed, options: FeaturesOptions, io: Io): void {
  const { path, tensor, model, attentions, elapsed } = computed;
  const { out, plot } = options;
  printJson(io, {
    model: model.title,
    input: path,
    size: tensor.shape.slice(1, 3),
    backend: options.backend,
    milliseconds: elapsed,
    results: rowsOf(computed),
    ...(options.attentions && {
      attentions: attentions.map(({ name, shape, values }) => ({ name, shape, ...statistics(values) })),
    }),
    ...(out !== undefined && { out }),
    ...(plot !== undefined && { plot }),
  });
}

function printResults(computed: Computed, options: FeaturesOptions, io: Io): void {
  const { path, tensor, size, model, attentions, elapsed } = computed;
  const [batch, height, width, channels] = tensor.shape;
  const paint = paintFor(io.stdout);
  print(io, paint.dim(`${model.title}; ${options.backend}, ${milliseconds(elapsed)}`));
  const input = by([batch, channels, height, width]);
  print(io, `\n${paint.bold(path)}  ${size ? `${by(size)}, prepared as ` : ''}${input}\n`);
  const rows = rowsOf(computed).map(({ name, shape, stride, mean, std, min, max }) => [
    name,
    by(shape),
    stride === undefined ? '' : String(stride),
    ...[mean, std, min, max].map((value) => value.toFixed(3)),
  ]);
  const [header, ...lines] = table([['', 'shape', 'stride', 'mean', 'std', 'min', 'max'], ...rows], 2);
  print(io, paint.dim(header!));
  for (const line of lines) print(io, line);
  const files = [options.out, options.plot].filter((file) => file !== undefined);
  if (options.attentions) {
    const [first, last] = [attentions[0]!, attentions.at(-1)!];
    print(io, `\n${attentions.length} attention maps, ${by(first.shape)} to ${by(last.shape)}`);
    if (files.length === 0)
      note(io, '--out FILE.safetensors saves the attention maps, --plot FILE.png draws them.');
  }
  if (files.length > 0) print(io, `\nwritten: ${files.join(', ')}`);
}

const read = async (name: string, tensor: tf.Tensor): Promise<Result> => ({
  name,
  shape: tensor.shape,
  values: await tensor.data<'float32'>(),
});

/** A map as files have it, (N, C, h, w). */
async function readChannelsFirst(name: string, map: tf.Tensor4D): Promise<Result> {
  const { transpose } = await import('@tensorflow/tfjs-core');
  const moved = transpose(map, [0, 3, 1, 2]);
  const result = await read(name, moved);
  moved.dispose();
  return result;
}

function statistics(values: Float32Array): { mean: number; std: number; min: number; max: number } {
  let sum = 0;
  let min = Infinity;
  let max = -Infinity;
  for (const value of values) {
    sum += value;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const mean = sum / values.length;
  let squares = 0;
  for (const value of values) squares += (value - mean) ** 2;
  return { mean, std: Math.sqrt(squares / values.length), min, max };
}
