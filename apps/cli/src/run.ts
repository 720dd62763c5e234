import { Command } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import { cache } from './commands/cache.ts';
import { classify } from './commands/classify.ts';
import { convert } from './commands/convert.ts';
import { detect } from './commands/detect.ts';
import { features } from './commands/features.ts';
import { inspect } from './commands/inspect.ts';
import { models } from './commands/models.ts';
import { segment } from './commands/segment.ts';
import { summary } from './commands/summary.ts';
import { evaluate } from './commands/eval.ts';
import { train } from './commands/train.ts';
import { exitCode, report, UsageError } from './errors.ts';
import type { Io } from './io.ts';

/** Adds a command to the program. Heavy modules are imported by actions alone, so that help is instant. */
const commands: readonly ((program: Command, io: Io) => void)[] = [
  models,
  summary,
  features,
  classify,
  segment,
  detect,
  train,
  evaluate,
  inspect,
  convert,
  cache,
];

const help = `
Examples:
  pvt models 'pvt_v2*'                     the variants of PVT v2
  pvt summary pvt_v2_b0 --size 512x512     each layer's output and cost
  pvt classify photo.jpg                   ten classes, with the embedded checkpoint
  pvt classify *.jpg --weights pvt_v2_b2.in1k --labels imagenet.tsv
  pvt features photo.jpg --model pvt_v2_nano --plot pyramid.png
  pvt segment street.jpg --weights fpn_pvt_v2_b0_ade20k.pth --plot seen.png
  pvt detect street.jpg --weights retinanet_pvt_v2_b0.pth --plot found.png
  pvt train detect --data cells/ --model pvt_v2_nano --size 240x320 --minutes 50
  pvt eval detect --data cells/ --weights pvt-detect/model.safetensors
  pvt inspect checkpoint.pth               what it is, and what is wrong with it
  pvt convert checkpoint.pth my-pvt/ --to hf

Exit code: 0 done, 1 the work failed, 2 the arguments are wrong, 130 stopped with Ctrl-C.
Every command explains itself: pvt features --help`;

/**
 * Runs one command line.
 *
 * @returns the exit code: 0 done, 1 the work failed, 2 the arguments are wrong, 130 stopped
 * @example
 * process.exitCode = await run(['models', 'pvt_v2*'], process);
 */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  const program = new Command('pvt')
    .description(
      'Pyramid Vision Transformer: classify, segment and detect, train, extract feature pyramids, ' +
        'inspect models.',
    )
    .version(manifest.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'explain a command')
    .helpCommand('help [command]', 'explain a command')
    .addHelpText('after', help)
    .showHelpAfterError(false)
    .exitOverride()
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: (text) => report(new UsageError(usageMessage(text)), io),
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stderr.columns ?? 100,
    });
  for (const add of commands) add(program, io);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (error) {
    return exitCode(error, io);
  }
}

/** An error of commander as one sentence in our style. */
function usageMessage(text: string): string {
  const [problem, suggestion] = text
    .replace(/^error: /, '')
    .trim()
    .split(/\n\(Did you mean |\?\)$/);
  const joined = problem!
    .replace(/\.$/, '')
    .replace(/\. ([A-Z])/g, (_, letter: string) => `: ${letter.toLowerCase()}`);
  return suggestion === undefined
    ? `${joined}; --help shows what is possible.`
    : `${joined}; did you mean ${suggestion}?`;
}
