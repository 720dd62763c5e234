import { InvalidArgumentError, Option, type Command } from 'commander';

/** Options that every command has. */
export interface CommonOptions {
  readonly backend: 'wasm' | 'cpu';
  readonly json?: true;
}

/** Adds the common options. A command that computes nothing takes `--backend` too, without showing it. */
export function common(command: Command, { computes }: { readonly computes: boolean }): Command {
  const backend = new Option('--backend <name>', 'what computes').choices(['wasm', 'cpu']).default('wasm');
  return command
    .addOption(computes ? backend : backend.hideHelp())
    .option('--json', 'answer as JSON on stdout; notes and progress stay on stderr')
    .helpOption('-h, --help', 'explain this command');
}

const integer = (text: string, least: number, most: number, example: string): number => {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most))
    throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}, such as ${example}.`);
  return value;
};

export const count = (text: string): number => integer(text, 1, 100_000, '5');
export const seed = (text: string): number => integer(text, 0, 4_294_967_295, '42');

/** Pixels that a side of an input may have: beyond it, sizes are typing errors. */
const longestSide = 16_384;

export function size(text: string): readonly [height: number, width: number] {
  const [, height, width] = /^(\d{1,5})[x×](\d{1,5})$/i.exec(text) ?? [];
  const sides = [Number(height), Number(width)] as const;
  if (!sides.every((side) => side >= 1 && side <= longestSide)) {
    throw new InvalidArgumentError(
      `Expected HEIGHTxWIDTH in pixels, each from 1 to ${longestSide}, such as 480x640.`,
    );
  }
  return sides;
}

/** A score, or a probability. */
export function share(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!(value >= 0 && value <= 1))
    throw new InvalidArgumentError('Expected a number from 0 to 1, such as 0.3.');
  return value;
}

export const threads = (text: string): number => integer(text, 1, 64, '2');

/** For commands that run a model over many images. */
export const threadsOption = [
  '--threads <count>',
  'threads that share each run of the model; more than 1 run it beside tfjs, with the same results',
  threads,
  1,
] as const;

/** Any reference that `fetchFiles` takes. */
export const weightsOption = [
  '--weights <checkpoint>',
  'a checkpoint of the official code, timm or Hugging Face (safetensors, or what torch.save writes): file, folder, URL, hub repository, or published name such as pvt_v2_b0.in1k',
] as const;

/** A path that ends as what will be written there. */
export const pathOf =
  (extension: string) =>
  (text: string): string => {
    if (!text.toLowerCase().endsWith(extension))
      throw new InvalidArgumentError(`Expected a file name that ends in ${extension}.`);
    return text;
  };
