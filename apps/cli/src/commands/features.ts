import type * as tf from '@tensorflow/tfjs-core';
import { Option, type Command } from 'commander';
import { WorkError } from '../errors.ts';
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

/** A result as it goes into files: a name, and values in the order of its shape. */
interface Result {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

export function features(program: Command, io: Io): void {
  const command = common(program.command('features'), { computes: true })
    .summary('compute the feature pyramid of an image, as numbers and as a plot')
    .description(
      'Computes the feature pyramid of an image: a map for each stage, each coarser and deeper than the one before.',
    )
    .argument(
      '<input>',
      'an image, or .safetensors holding input: float32 (N,3,H,W), already normalised, any size',
    )
    .option('--model <name>', 'a variant, see pvt models; pvt_v2_nano has its weights embedded')
    .option(...weightsOption)
    .addOption(
      new Option('--init <seed>', 'random numbers for weights, the same ones for the same seed')
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
  logits                       (N, classes)        where there is a classifier
  attention.{stage}.{block}    (N, heads, Nq, Nk)  with --attentions; stages count from 1 as in stage1, blocks from 0

Examples:
  pvt features photo.jpg --model pvt_v2_nano --plot pyramid.png
  pvt features photo.jpg --weights pvt_v2_b2.in1k --out features.safetensors
  pvt features input.safetensors --model pvt_v2_b0 --init 42 --attentions --out features.safetensors`,
    );

  command.action(async (path: string, options: FeaturesOptions) => {
    const { originOf, loadModel } = await import('../model.ts');
    originOf(options);
    const { checkOutputs, writeWhole } = await import('../files.ts');
    await checkOutputs(
      [options.out, options.plot],
      [path, options.weights, options.config].filter((file) => file !== undefined),
    );
    const { startBackend } = await import('../backend.ts');
    const { isTensorFile, readInput } = await import('../input.ts');

    const model = await progress(io, 'loading the model', async () => {
      await startBackend(options.backend, io);
      return loadModel(options, io);
    });
    const owned: { dispose(): void }[] = [model];
    try {
      const { backbone, head, config, preprocessing, guess } = model;
      if (guess && !isTensorFile(path)) note(io, guess);
      const { tensor, image } = await progress(io, `reading ${path}`, () =>
        readInput(path, config, preprocessing),
      );
      owned.push(tensor);
      const [batch, height, width] = tensor.shape;
      const start = performance.now();
      const { pyramid, embedding, attentions, logits } = await progress(
        io,
        `computing ${model.title} at ${height}x${width}`,
        () => {
          const output = backbone.forward(tensor, options.attentions ? { attentions: true } : {});
          owned.push(...output.pyramid.map((level) => level.tensor), output.embedding);
          const maps =
            'attentions' in output ? (output.attentions as readonly (readonly tf.Tensor4D[])[]) : [];
          owned.push(...maps.flat());
          const classified = head?.forward(output.embedding);
          if (classified) owned.push(classified);
          return {
            pyramid: output.pyramid,
            embedding: output.embedding,
            attentions: maps,
            logits: classified,
          };
        },
      );
      const results: Result[] = [];
      for (const level of pyramid) results.push(await channelsFirst(level.name, level.tensor));
      results.push(await plain('embedding', embedding));
      if (logits) results.push(await plain('logits', logits));
      const elapsed = performance.now() - start;
      const maps: Result[] = [];
      for (const [stage, blocks] of attentions.entries()) {
        for (const [block, map] of blocks.entries())
          maps.push(await plain(`attention.${stage + 1}.${block}`, map));
      }
      const broken = results.find(({ values }) => !values.every(Number.isFinite));
      if (broken)
        throw new WorkError(
          `features: expected finite numbers, got others in ${broken.name}; are these the model's weights?`,
        );

      if (options.out !== undefined) {
        const { fromFloat32, writeSafetensors } = await import('@pvt/presets');
        const entries = [...results, ...maps].map(
          ({ name, shape, values }) => [name, fromFloat32(values, shape)] as const,
        );
        await writeWhole(options.out, writeSafetensors(entries, { model: model.title, input: path }));
      }
      if (options.plot !== undefined) {
        const plot = options.plot;
        const { cost } = await import('@pvt/core');
        const { drawPyramid } = await import('../plot/pyramid.ts');
        const png = await progress(io, `drawing ${plot}`, async () =>
          drawPyramid({
            title: model.title,
            subtitle: `${path}${image ? `, ${by(image)}` : ''}${batch > 1 ? `, the first of ${batch}` : ''}`,
            input: {
              height,
              width,
              values: (await tensor.data()) as Float32Array,
              normalize: preprocessing.normalize,
            },
            config,
            stages: cost(config, [height, width]).stages,
            levels: await Promise.all(
              pyramid.map(async ({ tensor: map }) => (await map.data()) as Float32Array),
            ),
            attentions: attentions.map((_, stage) =>
              maps.filter(({ name }) => name.startsWith(`attention.${stage + 1}.`)).at(-1)!,
            ),
          }),
        );
        await writeWhole(plot, png);
      }

      const rows = results.map(({ name, shape, values }, index) => ({
        name,
        ...(pyramid[index] && { stride: pyramid[index].stride }),
        shape,
        ...statistics(values),
      }));
      if (options.json) {
        const files = {
          ...(options.out !== undefined && { out: options.out }),
          ...(options.plot !== undefined && { plot: options.plot }),
        };
        const attention = options.attentions && {
          attentions: maps.map(({ name, shape, values }) => ({ name, shape, ...statistics(values) })),
        };
        return printJson(io, {
          model: model.title,
          input: path,
          size: [height, width],
          backend: options.backend,
          milliseconds: elapsed,
          results: rows,
          ...attention,
          ...files,
        });
      }
      const paint = paintFor(io.stdout);
      print(io, paint.dim(`${model.title}; ${options.backend}, ${milliseconds(elapsed)}`));
      print(
        io,
        `\n${paint.bold(path)}  ${image ? `${by(image)}, prepared as ` : ''}${by([batch, config.channels, height, width])}\n`,
      );
      const [header, ...lines] = table(
        [
          ['', 'shape', 'stride', 'mean', 'std', 'min', 'max'],
          ...rows.map(({ name, shape, stride, mean, std, min, max }) => [
            name,
            by(shape),
            stride === undefined ? '' : String(stride),
            ...[mean, std, min, max].map((value) => value.toFixed(3)),
          ]),
        ],
        2,
      );
      print(io, paint.dim(header!));
      for (const line of lines) print(io, line);
      if (options.attentions)
        print(io, `\n${maps.length} attention maps, ${by(maps[0]!.shape)} to ${by(maps.at(-1)!.shape)}`);
      if (options.attentions && options.out === undefined && options.plot === undefined)
        note(io, '--out FILE.safetensors keeps the attention maps, --plot FILE.png draws them.');
      const files = [options.out, options.plot].filter((file) => file !== undefined);
      if (files.length > 0) print(io, `\nwritten: ${files.join(', ')}`);
    } finally {
      for (const resource of owned) resource.dispose();
    }
  });
}

const plain = async (name: string, tensor: tf.Tensor): Promise<Result> => ({
  name,
  shape: tensor.shape,
  values: (await tensor.data()) as Float32Array,
});

/** A map as files have it, (N, C, h, w). */
async function channelsFirst(name: string, map: tf.Tensor4D): Promise<Result> {
  const { transpose } = await import('@tensorflow/tfjs-core');
  const moved = transpose(map, [0, 3, 1, 2]);
  const result = await plain(name, moved);
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
