import type { Command } from 'commander';
import { UsageError } from '../errors.ts';
import { paintFor, print, printJson, type Io } from '../io.ts';
import { common, type CommonOptions } from '../options.ts';
import { by, compact, table } from '../text.ts';

export function models(program: Command, io: Io): void {
  common(program.command('models'), { computes: false })
    .summary('list the variants: parameters, multiply-adds, accuracy')
    .description(
      'Lists the variants: parameters, multiply-adds (MACs) at their image size, accuracy, and which one has its weights embedded.',
    )
    .argument('[pattern]', 'names to list; * stands for any characters, ? for one', '*')
    .addHelpText('after', `\nExamples:\n  pvt models\n  pvt models 'pvt_v2*'\n  pvt models --json`)
    .action(async (pattern: string, { json }: CommonOptions) => {
      const { cost, pvtConfig } = await import('@pvt/core');
      const { getModel, listModels } = await import('@pvt/presets');
      const { checkpoints } = await import('@pvt/checkpoints');
      const embedded: string[] = Object.values(checkpoints).map(({ model }) => model);
      const names = listModels(pattern);
      if (names.length === 0)
        throw new UsageError(
          `models: expected a pattern that some variant matches, got ${JSON.stringify(pattern)}; run pvt models to see all of them.`,
        );

      const list = names.map((name) => {
        const { config: given, ...preset }: { config: Parameters<typeof pvtConfig>[0]; top1?: number } =
          getModel(name);
        const config = pvtConfig(given);
        const { params, macs, size } = cost(config);
        return {
          name,
          version: config.version,
          params,
          macs,
          size,
          classes: config.classes,
          ...(preset.top1 !== undefined && { top1: preset.top1 }),
          embedded: embedded.includes(name),
        };
      });
      if (json) return printJson(io, list);

      const paint = paintFor(io.stdout);
      const rows = list.map(({ name, params, macs, size, top1, embedded }) => [
        name,
        compact(params),
        compact(macs),
        by(size),
        top1?.toFixed(1) ?? '-',
        embedded ? 'embedded' : '',
      ]);
      const [head, ...lines] = table([['model', 'params', 'MACs', 'size', 'top-1', ''], ...rows]);
      print(io, paint.dim(head!));
      for (const [index, line] of lines.entries()) print(io, list[index]!.embedded ? paint.bold(line) : line);
      const own = list.filter(({ embedded }) => embedded).map(({ name }) => name);
      print(
        io,
        paint.dim(
          `\nMACs are those of one image of that size; top-1 is the percentage right on ImageNet-1k.`,
        ),
      );
      if (own.length > 0)
        print(
          io,
          paint.dim(
            `${own.join()} is a demonstration: it was trained and measured on the ten classes of CIFAR-10.`,
          ),
        );
    });
}
