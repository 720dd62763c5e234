import type { PvtConfigInput } from '@pvt/core';
import type { ModelName } from '@pvt/presets';
import type { Command } from 'commander';
import { UsageError } from '../errors.ts';
import { paintFor, print, printJson, type Io } from '../io.ts';
import { common, type CommonOptions } from '../options.ts';
import { by, compact, table } from '../text.ts';

export function models(program: Command, io: Io): void {
  common(program.command('models'), { computes: false })
    .summary('list the variants: parameters, multiply-adds, accuracy')
    .description(
      'Lists the variants: parameters, multiply-adds (MACs) at their image size, accuracy, and which one ' +
        'has its weights embedded.',
    )
    .argument('[pattern]', 'names to list; * matches any characters, ? one', '*')
    .addHelpText('after', `\nExamples:\n  pvt models\n  pvt models 'pvt_v2*'\n  pvt models --json`)
    .action((pattern: string, options: CommonOptions) => run(pattern, options, io));
}

async function run(pattern: string, { json }: CommonOptions, io: Io): Promise<void> {
  const { listModels } = await import('@pvt/presets');
  const names = listModels(pattern);
  if (names.length === 0)
    throw new UsageError(
      `models: expected a pattern that some variant matches, got ${JSON.stringify(pattern)}; ` +
        'run pvt models to see all of them.',
    );
  const variants = await Promise.all(names.map(describe));
  if (json) return printJson(io, variants);

  const paint = paintFor(io.stdout);
  const rows = variants.map(({ name, params, macs, size, top1, embedded }) => [
    name,
    compact(params),
    compact(macs),
    by(size),
    top1?.toFixed(1) ?? '-',
    embedded ? 'embedded' : '',
  ]);
  const [header, ...lines] = table([['model', 'params', 'MACs', 'size', 'top-1', ''], ...rows]);
  print(io, paint.dim(header!));
  for (const [index, line] of lines.entries()) print(io, variants[index]!.embedded ? paint.bold(line) : line);
  print(
    io,
    paint.dim('\nMACs are those of one image of that size; top-1 is the percentage right on ImageNet-1k.'),
  );
  const demonstrations = variants.filter(({ embedded }) => embedded).map(({ name }) => name);
  if (demonstrations.length > 0)
    print(
      io,
      paint.dim(
        `${demonstrations.join()} is a demonstration: ` +
          'it was trained and measured on the ten classes of CIFAR-10.',
      ),
    );
}

/** What the command shows of a variant. */
async function describe(name: ModelName) {
  const { cost, pvtConfig } = await import('@pvt/core');
  const { checkpoints } = await import('@pvt/checkpoints');
  const { getModel } = await import('@pvt/presets');
  const preset: { config: PvtConfigInput; top1?: number } = getModel(name);
  const config = pvtConfig(preset.config);
  const { params, macs, size } = cost(config);
  return {
    name,
    version: config.version,
    params,
    macs,
    size,
    classes: config.classes,
    ...(preset.top1 !== undefined && { top1: preset.top1 }),
    embedded: Object.values(checkpoints).some(({ model }) => model === name),
  };
}
