import { InvalidArgumentError, Option, type Command } from 'commander';
import { UsageError } from './errors.ts';

/** The options of every command. */
export interface CommonOptions {
  readonly backend: 'wasm' | 'cpu';
  readonly json?: true;
}

/** Adds the common options. A command that computes nothing takes `--backend` too, but does not show it. */
export function common(command: Command, { computes }: { readonly computes: boolean }): Command {
  const backend = new Option('--backend <name>', 'what computes').choices(['wasm', 'cpu']).default('wasm');
  return command
    .addOption(computes ? backend : backend.hideHelp())
    .option('--json', 'print JSON on stdout; notes and progress stay on stderr')
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

/** Most pixels of an input's side: larger numbers are taken for typing errors. */
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

export const threadsOption = [
  '--threads <count>',
  'threads that share each run of the model; with more than 1 it runs beside tfjs, with the same results',
  threads,
  1,
] as const;

/** For commands that run a model on images. */
export const inputArgument = [
  '<input...>',
  'images, or .safetensors holding input: float32 (N,3,H,W), already normalized',
] as const;

export const labelsOption = [
  '--labels <file>',
  'class names: one a line, a JSON array or object by index, or columns separated by tabs',
] as const;

/** Any reference that `fetchFiles` takes. */
export const weightsOption = [
  '--weights <checkpoint>',
  'a checkpoint of the official code, timm or Hugging Face (safetensors, or what torch.save writes): ' +
    'file, folder, URL, hub repository, or published name such as pvt_v2_b0.in1k',
] as const;

/** Parses the path of an output, which must have this extension. */
export const pathOf =
  (extension: string) =>
  (text: string): string => {
    if (!text.toLowerCase().endsWith(extension))
      throw new InvalidArgumentError(`Expected a file name that ends in ${extension}.`);
    return text;
  };

/** The tasks of `pvt train` and `pvt eval`. */
export const taskNames = ['classify', 'segment', 'detect'] as const;
export type TaskName = (typeof taskNames)[number];

/** @throws UsageError for another task */
export function checkTask(command: string, task: string): TaskName {
  const found = taskNames.find((name) => name === task);
  if (found === undefined)
    throw new UsageError(`${command}: expected ${taskNames.join(', ')}, got ${task}; name one of these.`);
  return found;
}

export const dataOption = [
  '--data <folder>',
  'the images: a folder per class; images and masks; Pascal VOC or COCO',
] as const;

/** The side of a square, or the shorter and the longer side of a rectangle, in whole pixels. */
export const sides = (text: string): readonly [number, number] => {
  const [, first, second = first] = /^(\d{2,4})(?:[x×](\d{2,4}))?$/i.exec(text) ?? [];
  const pair = [Number(first), Number(second)] as const;
  if (!pair.every((side) => side >= 32 && side <= 4096))
    throw new InvalidArgumentError(
      'Expected one side or two in pixels, from 32 to 4096, such as 256 or 240x320.',
    );
  return pair;
};

export const positive = (text: string): number => {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!(value > 0 && Number.isFinite(value)))
    throw new InvalidArgumentError('Expected a number above 0, such as 0.5.');
  return value;
};
