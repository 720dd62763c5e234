import { stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { Checkpoint, Dtype, Naming, ReadableFile, Savable, SaveOptions } from '@pvt/presets';
import { Option, type Command } from 'commander';
import { refusal, sentence, UsageError, WorkError } from '../errors.ts';
import { note, print, printJson, progress, type Io } from '../io.ts';
import { common, type CommonOptions } from '../options.ts';
import { bytes, counted } from '../text.ts';

const namings = {
  official: 'official',
  timm: 'timm',
  hf: 'huggingFace',
  canonical: 'canonical',
} as const satisfies Record<string, Naming>;
const dtypes = { f32: 'F32', f16: 'F16', bf16: 'BF16' } as const;

interface ConvertCommandOptions extends CommonOptions {
  readonly to?: keyof typeof namings;
  readonly dtype: keyof typeof dtypes;
  readonly config?: string;
  readonly drop?: true;
}

export function convert(program: Command, io: Io): void {
  common(program.command('convert'), { computes: false })
    .summary('convert a checkpoint: other names, another precision, a folder for transformers or timm')
    .description(
      "Converts a checkpoint to safetensors, with another implementation's names or another precision; " +
        'or to the folder that transformers or timm loads.',
    )
    .argument(
      '<in>',
      'a checkpoint: file, folder, URL, hub repository, or published name such as pvt_v2_b0.in1k',
    )
    .argument('<out>', 'a name that ends in .safetensors; or a folder, with --to hf or timm')
    .addOption(
      new Option('--to <names>', 'whose names the parameters get (default: the ones they have)').choices(
        Object.keys(namings),
      ),
    )
    .addOption(
      new Option('--dtype <dtype>', 'how values are stored').choices(Object.keys(dtypes)).default('f32'),
    )
    .option(
      '--config <file>',
      'the architecture as JSON, ours or a Hugging Face config.json, if the checkpoint does not say it',
    )
    .option('--drop', 'leave out tensors that are no part of the backbone or its classifier')
    .addHelpText(
      'after',
      `
A folder gets model.safetensors and config.json, with the class names if the checkpoint has them;
transformers' folder gets preprocessor_config.json too.

Examples:
  pvt convert pvt_v2_b2.pth pvt_v2_b2.safetensors
  pvt convert pvt_v2_b0.in1k half.safetensors --to official --dtype f16
  pvt convert pvt_v2_b2.pth my-pvt/ --to hf`,
    )
    .action((path: string, out: string, options: ConvertCommandOptions) => run(path, out, options, io));
}

async function run(path: string, out: string, options: ConvertCommandOptions, io: Io): Promise<void> {
  const toFolder = await isFolder(out);
  if (toFolder) checkLayout(out, options.to);
  const { checkDistinct, checkOutputs } = await import('../files.ts');
  await checkOutputs(
    [out],
    [path, options.config].filter((file) => file !== undefined),
  );
  const { fromBytes, openCheckpoint } = await import('@pvt/presets');
  const { checkpoint, files, labels } = await readSource(path, toFolder, options, io);
  const to = options.to === undefined ? checkpoint.naming : namings[options.to];
  const written = await progress(io, `converting ${path}`, () =>
    convertAll(checkpoint, labels, { to, dtype: dtypes[options.dtype], out, toFolder }),
  );
  await checkDistinct(toFolder ? [...written.keys()].map((name) => join(out, name)) : [out], [
    path,
    ...files.map(({ name }) => join(path, name)),
  ]);
  // A result that cannot be opened again must not be written.
  const again = await openCheckpoint(
    new Map(Array.from(written, ([name, content]) => [name, fromBytes(name, content)])),
    toFolder ? {} : { naming: to },
  );
  await write(out, written, toFolder);
  show({ path, files, checkpoint, out, to, written, toFolder }, options, io);
  if (!options.json && !sameEpsilons(again.config, checkpoint.config))
    note(
      io,
      `${to} has other epsilons in LayerNorm than ${checkpoint.naming}, and the weights do not hold them; ` +
        'logits move by about 1e-5.',
    );
}

type Names = NonNullable<ConvertCommandOptions['to']>;

/** @throws UsageError if nobody loads a folder with these names */
function checkLayout(out: string, to: Names | undefined): void {
  if (to === 'hf' || to === 'timm') return;
  const got = to === undefined ? 'neither' : `--to ${to}`;
  throw new UsageError(
    `expected --to hf or --to timm for the folder ${out}, got ${got}; ` +
      'choose one, or a name that ends in .safetensors.',
  );
}

/** The checkpoint to convert, its files, and the names of its classes. */
async function readSource(
  path: string,
  toFolder: boolean,
  options: ConvertCommandOptions,
  io: Io,
): Promise<{
  readonly checkpoint: Checkpoint;
  readonly files: readonly ReadableFile[];
  readonly labels: readonly string[] | undefined;
}> {
  const { openCheckpoint } = await import('@pvt/presets');
  const { fetchFiles } = await import('../fetch.ts');
  const { noteGaps, readConfig } = await import('../model.ts');
  const given = options.config === undefined ? undefined : await readConfig(options.config);
  const files = await fetchFiles(path, io);
  const checkpoint = await openCheckpoint(files, given ? { config: given.config } : {});
  const { unexpected, assumed } = checkpoint;
  if (unexpected.length > 0 && !options.drop) {
    throw new WorkError(
      `${path}: expected a backbone and its classifier, got ` +
        `${counted(unexpected.length, 'tensor')} outside of them, such as ${sentence(unexpected[0])}; ` +
        'leave them out with --drop.',
    );
  }
  // A file of weights says nothing about what was assumed; a folder's config.json does.
  noteGaps(path, { unexpected, assumed: toFolder ? assumed : [] }, io);
  return {
    checkpoint,
    files: 'read' in files ? [files] : [...files.values()],
    labels: given?.labels ?? checkpoint.labels,
  };
}

/** The files of the converted checkpoint, by name. */
async function convertAll(
  { config, source, preprocessing }: Checkpoint,
  labels: readonly string[] | undefined,
  {
    to,
    dtype,
    out,
    toFolder,
  }: { readonly to: Naming; readonly dtype: Dtype; readonly out: string; readonly toFolder: boolean },
): Promise<ReadonlyMap<string, Uint8Array>> {
  const { convertCheckpoint, savePretrained } = await import('@pvt/presets');
  const savable: Savable = {
    config,
    source,
    ...(preprocessing && { preprocessing }),
    ...(labels && { labels }),
  };
  if (!toFolder) return new Map([[out, convertCheckpoint(savable, { to, dtype })]]);
  // `checkLayout` has let through only the names that folders have.
  const layout = to as SaveOptions['layout'];
  return savePretrained(savable, { layout, dtype, epsilon: epsilonOf(config.eps, to) });
}

async function write(
  out: string,
  written: ReadonlyMap<string, Uint8Array>,
  toFolder: boolean,
): Promise<void> {
  if (!toFolder) {
    const { writeWhole } = await import('../files.ts');
    return writeWhole(out, written.get(out)!);
  }
  const { saveFolder } = await import('@pvt/presets/node');
  await saveFolder(out, written).catch((error: unknown) => {
    throw new WorkError(
      `expected to write the folder ${out}, got ${refusal(error)}; check its permissions.`,
      { cause: error },
    );
  });
}

interface Conversion {
  readonly path: string;
  readonly files: readonly ReadableFile[];
  readonly checkpoint: Checkpoint;
  readonly out: string;
  readonly to: Naming;
  readonly written: ReadonlyMap<string, Uint8Array>;
  readonly toFolder: boolean;
}

function show(
  { path, files, checkpoint, out, to, written, toFolder }: Conversion,
  options: ConvertCommandOptions,
  io: Io,
): void {
  const { format, naming, model, config } = checkpoint;
  const sum = (sizes: readonly number[]) => sizes.reduce((total, size) => total + size, 0);
  const before = sum(files.map(({ size }) => size));
  const after = sum(Array.from(written.values(), ({ length }) => length));
  const names = toFolder ? [...written.keys()] : [];
  if (options.json)
    return printJson(io, {
      read: {
        path,
        format,
        naming,
        ...(model && { model }),
        bytes: before,
        files: files.map(({ name }) => name),
      },
      written: {
        path: out,
        format: 'safetensors',
        naming: to,
        dtype: options.dtype,
        bytes: after,
        files: names,
      },
    });
  const source = [model ?? `PVT ${config.version}`, `${naming} names`, format, bytes(before)];
  const result = [`${to} names`, options.dtype, ...names, bytes(after)];
  print(io, `read     ${path}: ${source.join(', ')}`);
  print(io, `written  ${out}: ${result.join(', ')}`);
}

type Epsilons = Savable['config']['eps'];

const sameEpsilons = (...configs: readonly { readonly eps: Epsilons }[]): boolean =>
  new Set(configs.map(({ eps }) => JSON.stringify([eps.block, eps.patchEmbed, eps.reduction]))).size === 1;

/** Transformers can store one epsilon. It has its own if there are several, and timm always has its own. */
const epsilonOf = (eps: Epsilons, to: Naming): 'keep' | 'layout' =>
  to === 'huggingFace' && new Set(Object.values(eps)).size === 1 ? 'keep' : 'layout';

/** Whether a path is that of a folder. @throws UsageError for a file that is no .safetensors */
async function isFolder(out: string): Promise<boolean> {
  if (/[\\/]$/.test(out)) return true;
  const there = await stat(out).then(
    (status) => status.isDirectory(),
    () => false,
  );
  const end = extname(out).toLowerCase();
  if (there || end === '') return true;
  if (end !== '.safetensors')
    throw new UsageError(
      `expected a name that ends in .safetensors, or a folder that ends in /, got ${out}; ` +
        'nothing else can be written.',
    );
  return false;
}
