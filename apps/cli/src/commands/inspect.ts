import type { Command } from 'commander';
import { WorkError } from '../errors.ts';
import { print, printJson, progress, type Io } from '../io.ts';
import { common, type CommonOptions } from '../options.ts';

export function inspect(program: Command, io: Io): void {
  common(program.command('inspect'), { computes: false })
    .summary('say what a checkpoint is, and what is wrong with it')
    .description(
      'Says what a checkpoint is: format, naming, variant, tensors, precision, and what is wrong with it. ' +
        'Nothing in it is executed. The exit code is 1 if no model can be made of it.',
    )
    .argument('<checkpoint>', 'a file, folder, URL, hub repository, or published name such as pvt_v2_b0.in1k')
    .option('--tensors', 'list every tensor')
    .addHelpText(
      'after',
      `
Examples:
  pvt inspect pvt_v2_b2.pth
  pvt inspect my-pvt/ --tensors
  pvt inspect timm/pvt_v2_b0.in1k --json`,
    )
    .action(async (path: string, options: CommonOptions & { readonly tensors?: true }) => {
      const { fetchFiles } = await import('../fetch.ts');
      const { inspect: inspectFiles, renderInspection } = await import('@pvt/presets');
      const files = await fetchFiles(path, io);
      const found = await progress(io, `reading ${path}`, () => inspectFiles(files));
      // Tensors outside of the model do not prevent one from being made.
      const [worst] = found.findings.filter(({ code }) => code !== 'unexpected');
      if (options.json) printJson(io, { ...found, metadata: Object.fromEntries(found.metadata) });
      else if (found.format) print(io, renderInspection(found, options));
      if (worst === undefined) return;
      if (found.config)
        throw new WorkError(
          `${path}: expected every parameter, finite and of its shape, got ${worst.message}; ` +
            'no model can be made of it.',
        );
      throw new WorkError(found.format ? `${path}: ${worst.message}` : worst.message);
    });
}
