import { stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { Naming, Savable, SaveOptions } from '@pvt/presets';
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
  const command = common(program.command('convert'), { computes: false })
    .summary('write a checkpoint anew: other names, another precision, a folder for transformers or timm')
    .description(
      "Writes a checkpoint anew as safetensors, in another implementation's names or another precision; or as the folder that transformers or timm loads.",
    )
    .argument(
      '<in>',
      'a checkpoint: file, folder, URL, hub repository, or published name such as pvt_v2_b0.in1k',
    )
    .argument('<out>', 'a name that ends in .safetensors; or a folder, with --to hf or timm')
    .addOption(
      new Option('--to <names>', 'whose names the parameters get (default: those they have)').choices(
        Object.keys(namings),
      ),
    )
    .addOption(
      new Option('--dtype <dtype>', 'how values are stored').choices(Object.keys(dtypes)).default('f32'),
    )
    .option(
      '--config <file>',
      'the architecture as JSON, ours or a Hugging Face config.json, where the checkpoint does not tell it',
    )
    .option('--drop', 'leave out tensors that are no part of the backbone or its classifier')
    .addHelpText(
      'after',
      `
A folder gets config.json, with the class names where the checkpoint has them, and model.safetensors;
transformers' gets preprocessor_config.json too.

Examples:
  pvt convert pvt_v2_b2.pth pvt_v2_b2.safetensors
  pvt convert pvt_v2_b0.in1k half.safetensors --to official --dtype f16
  pvt convert pvt_v2_b2.pth my-pvt/ --to hf`,
    );

  command.action(async (path: string, out: string, options: ConvertCommandOptions) => {
    const inFolder = await isFolder(out);
    if (inFolder && (options.to === undefined || options.to === 'official' || options.to === 'canonical')) {
      throw new UsageError(
        `expected --to hf or --to timm for the folder ${out}, got ${options.to === undefined ? 'neither' : `--to ${options.to}`}; choose one, or a name that ends in .safetensors.`,
      );
    }
    const { checkDistinct, checkOutputs, writeWhole } = await import('../files.ts');
    await checkOutputs(
      [out],
      [path, options.config].filter((file) => file !== undefined),
    );
    const { noteGaps, readConfig } = await import('../model.ts');
    const { fetchFiles } = await import('../fetch.ts');
    const { convertCheckpoint, fromBytes, openCheckpoint, savePretrained } = await import('@pvt/presets');
    const { saveFolder } = await import('@pvt/presets/node');

    const given = options.config === undefined ? undefined : await readConfig(options.config);
    const files = await fetchFiles(path, io);
    const read = 'read' in files ? [files] : [...files.values()];
    const checkpoint = await openCheckpoint(files, given ? { config: given.config } : {});
    const { config, source, naming, model, format, preprocessing, unexpected, assumed } = checkpoint;
    if (unexpected.length > 0 && !options.drop) {
      throw new WorkError(
        `${path}: expected a backbone and its classifier, got ${counted(unexpected.length, 'tensor')} besides, such as ${sentence(unexpected[0])}; leave them out with --drop.`,
      );
    }
    // A file of weights says nothing of what is assumed; a folder's config.json does.
    noteGaps(path, { unexpected, assumed: inFolder ? assumed : [] }, io);

    const to = options.to === undefined ? naming : namings[options.to];
    const dtype = dtypes[options.dtype];
    const labels = given?.labels ?? checkpoint.labels;
    const savable: Savable = {
      config,
      source,
      ...(preprocessing && { preprocessing }),
      ...(labels && { labels }),
    };
    const written: ReadonlyMap<string, Uint8Array> = await progress(io, `converting ${path}`, () =>
      inFolder
        ? savePretrained(savable, {
            layout: to as SaveOptions['layout'],
            dtype,
            epsilon: keeps(config.eps, to),
          })
        : new Map([[out, convertCheckpoint(savable, { to, dtype })]]),
    );
    await checkDistinct(inFolder ? [...written.keys()].map((name) => join(out, name)) : [out], [
      path,
      ...read.map(({ name }) => join(path, name)),
    ]);
    const again = await openCheckpoint(
      new Map(Array.from(written, ([name, content]) => [name, fromBytes(name, content)])),
      inFolder ? {} : { naming: to },
    );
    if (inFolder) await saveFolder(out, written).catch((error: unknown) => fail(out, error));
    else await writeWhole(out, written.get(out)!);

    const size = (contents: Iterable<number>) => [...contents].reduce((sum, length) => sum + length, 0);
    const [before, after] = [
      size(read.map((file) => file.size)),
      size(Array.from(written.values(), ({ length }) => length)),
    ];
    if (options.json) {
      return printJson(io, {
        read: {
          path,
          format,
          naming,
          ...(model && { model }),
          bytes: before,
          files: read.map(({ name }) => name),
        },
        written: {
          path: out,
          format: 'safetensors',
          naming: to,
          dtype: options.dtype,
          bytes: after,
          files: inFolder ? [...written.keys()] : [],
        },
      });
    }
    print(
      io,
      `read     ${path}: ${model ?? `PVT ${config.version}`}, ${naming} names, ${format}, ${bytes(before)}`,
    );
    print(
      io,
      `written  ${out}: ${to} names, ${options.dtype}, ${inFolder ? `${[...written.keys()].join(', ')}, ` : ''}${bytes(after)}`,
    );
    if (!sameEpsilons(again.config, config))
      note(
        io,
        `${to} has other epsilons in LayerNorm than ${naming}, and the weights do not hold them; logits move by about 1e-5.`,
      );
  });
}

type Epsilons = Savable['config']['eps'];

const sameEpsilons = (...configs: readonly { readonly eps: Epsilons }[]): boolean =>
  new Set(configs.map(({ eps }) => JSON.stringify([eps.block, eps.patchEmbed, eps.reduction]))).size === 1;

/** Transformers keeps any one epsilon; timm has its own, and so has transformers where there are several. */
const keeps = (eps: Epsilons, to: Naming): 'keep' | 'layout' =>
  to === 'huggingFace' && new Set(Object.values(eps)).size === 1 ? 'keep' : 'layout';

/** Whether a checkpoint goes to a folder there, or to a file. @throws UsageError for the name of a file that we do not write */
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
      `expected a name that ends in .safetensors, or a folder that ends in /, got ${out}; nothing else is written.`,
    );
  return false;
}

function fail(folder: string, error: unknown): never {
  throw new WorkError(
    `expected to write the folder ${folder}, got ${refusal(error)}; check its permissions.`,
    { cause: error },
  );
}
