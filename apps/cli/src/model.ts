import { fileURLToPath } from 'node:url';
import { checkpoints } from '@pvt/checkpoints';
import {
  createPvt,
  pvtConfig,
  randomInit,
  scoped,
  type ParamSource,
  type Pvt,
  type PvtConfig,
  type PvtConfigInput,
  type Preprocessing,
} from '@pvt/core';
import { createClassificationHead, type ClassificationHead } from '@pvt/heads';
import {
  fromHuggingFaceConfig,
  getModel,
  labelsOf,
  listCheckpoints,
  modelNameOf,
  openCheckpoint,
  type Checkpoint,
  type ModelName,
} from '@pvt/presets';
import { sentence, UsageError, WorkError } from './errors.ts';
import { fetchFiles } from './fetch.ts';
import { readJson } from './files.ts';
import { note, type Io } from './io.ts';
import { counted } from './text.ts';

const embedded = checkpoints['pvt_v2_nano.cifar10'];

/** The embedded checkpoint's variant, and its file. */
export const embeddedModel = embedded.model;
export const embeddedPath = fileURLToPath(embedded.url);

/** How the arguments name a model. */
export interface ModelOptions {
  readonly model?: string;
  readonly weights?: string;
  readonly init?: number;
  readonly config?: string;
}

/** A model as the arguments name it: an architecture and the source of its parameters. */
export interface ModelDescription {
  /** For people: the variant and where its parameters are from. */
  readonly title: string;
  /** The variant, if it is one. */
  readonly name?: string;
  readonly config: PvtConfig;
  readonly source: ParamSource;
  readonly preprocessing: Preprocessing;
  /** What to say before an image is prepared, if nobody has published how. */
  readonly warning?: string;
  readonly labels?: readonly string[];
}

/** A variant by name. @throws UsageError if there is none of this name */
export function presetOf(name: string) {
  try {
    return getModel(name);
  } catch (error) {
    throw new UsageError(sentence(error), { cause: error });
  }
}

/** Where parameters come from. */
type Origin = 'embedded' | 'weights' | 'init';

/**
 * Where the parameters come from that the arguments ask for, before any file is read.
 *
 * @throws UsageError if the arguments name no model, or a variant without embedded weights
 */
export function originOf({ model, weights, init, config }: ModelOptions): Origin {
  if (model !== undefined) presetOf(model);
  if (weights !== undefined) return 'weights';
  if (model === undefined && config === undefined) {
    throw new UsageError(
      `expected a model, got none; name a variant with --model (${embeddedModel} is embedded) ` +
        'or a checkpoint with --weights FILE, such as --weights pvt_v2_b0.in1k.',
    );
  }
  if (init !== undefined) return 'init';
  if (model !== embeddedModel) {
    const [published] = listCheckpoints(`${model}.*`);
    const fetching = published ? `fetch the published ones with --weights ${published}, ` : '';
    throw new UsageError(
      `${model ?? 'a model of your own'} has no embedded weights; ${fetching}give a checkpoint with ` +
        '--weights FILE, or random numbers with features --init SEED, or use ' +
        `${embeddedModel}, which is embedded.`,
    );
  }
  return 'embedded';
}

/** What a file of `--config` says. */
interface GivenConfig {
  readonly config: PvtConfigInput;
  readonly labels?: readonly string[];
}

/**
 * The architecture in a file of `--config`, in our fields or as a Hugging Face config.json. Ours may name
 * only what differs from the variant.
 *
 * @throws WorkError if the file is no JSON object
 */
export async function readConfig(path: string, model?: string): Promise<GivenConfig> {
  const json = await readJson(path, 'a config');
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new WorkError(
      `--config: expected an object in ${path}, got ${JSON.stringify(json).slice(0, 40)}; ` +
        'write the fields of a PvtConfig or take a Hugging Face config.json.',
    );
  }
  if (!('model_type' in json))
    return { config: { ...(model && presetOf(model).config), ...json } as PvtConfigInput };
  const labels = meaningful(labelsOf(json));
  return { config: fromHuggingFaceConfig(json), ...(labels && { labels }) };
}

/** Labels, unless they are the numbers that transformers writes for classes without names. */
const meaningful = (labels: readonly string[] | undefined): readonly string[] | undefined =>
  labels?.some((label) => !/^LABEL_\d+$/.test(label)) ? labels : undefined;

/**
 * The usual evaluation on ImageNet at a config's own size, for an architecture without a published
 * preprocessing.
 */
function usualPreprocessing({ imageSize: [height, width] }: PvtConfig): Preprocessing {
  const { resize, ...rest } = getModel('pvt_v2_b0').preprocessing.official;
  return {
    ...rest,
    resize: { ...resize, to: { shortSide: Math.round(Math.max(height, width) / 0.875) } },
    crop: [height, width],
  };
}

/** Notes which tensors of a checkpoint are outside of the model, and what of its config had to be assumed. */
export function noteGaps(
  path: string,
  { unexpected, assumed }: Pick<Checkpoint, 'unexpected' | 'assumed'>,
  io: Io,
): void {
  if (unexpected.length > 0)
    note(
      io,
      `${path} also holds ${counted(unexpected.length, 'tensor')} outside of the model, ` +
        `such as ${sentence(unexpected[0])}.`,
    );
  if (assumed.length > 0)
    note(
      io,
      `${path} does not say what its ${assumed.join(' and ')} are; the usual ones are assumed, ` +
        '--config gives others.',
    );
}

/**
 * The model that the arguments name. Nothing is computed, and nothing is put on a backend yet.
 *
 * @throws UsageError, WorkError, ConfigError or CheckpointError if the arguments or their files describe no
 * model
 */
export async function readModel(options: ModelOptions, io: Io): Promise<ModelDescription> {
  const origin = originOf(options);
  const given = options.config === undefined ? undefined : await readConfig(options.config, options.model);
  const model =
    origin === 'init' ? initialModel(options, given) : await checkpointModel(options, origin, given, io);
  const published = model.name === undefined ? undefined : presetOf(model.name).preprocessing.official;
  const { preprocessing = published } = model;
  return {
    ...model,
    preprocessing: preprocessing ?? usualPreprocessing(model.config),
    ...(preprocessing === undefined && {
      warning:
        "nobody has published how this model's images are prepared; " +
        `they are prepared as usual for ImageNet, at ${model.config.imageSize.join('x')}.`,
    }),
    ...(given?.labels && { labels: given.labels }),
  };
}

type FoundModel = Omit<ModelDescription, 'preprocessing' | 'warning'> &
  Partial<Pick<ModelDescription, 'preprocessing'>>;

function initialModel({ model, init }: ModelOptions, given: GivenConfig | undefined): FoundModel {
  const config = pvtConfig<PvtConfigInput>(given?.config ?? presetOf(model!).config);
  const name = model ?? modelNameOf(config);
  return {
    title: `${name ?? `PVT ${config.version}`}, random numbers from seed ${init}`,
    config,
    source: randomInit(init!),
    ...(name && { name }),
  };
}

async function checkpointModel(
  { model, weights }: ModelOptions,
  origin: 'embedded' | 'weights',
  given: GivenConfig | undefined,
  io: Io,
): Promise<FoundModel> {
  const path = weights ?? embeddedPath;
  const config = given?.config ?? (model as ModelName | undefined);
  const checkpoint = await openCheckpoint(await fetchFiles(path, io), config === undefined ? {} : { config });
  noteGaps(path, checkpoint, io);
  const name = model ?? checkpoint.model;
  const { preprocessing } = origin === 'embedded' ? embedded : checkpoint;
  const labels = origin === 'embedded' ? embedded.labels : meaningful(checkpoint.labels);
  const from =
    origin === 'embedded'
      ? 'the embedded checkpoint: ten classes of CIFAR-10, a demonstration'
      : `${path} (${checkpoint.naming} names)`;
  return {
    title: `${name ?? `PVT ${checkpoint.config.version}`} from ${from}`,
    config: checkpoint.config,
    source: checkpoint.source,
    ...(name && { name }),
    ...(preprocessing && { preprocessing }),
    ...(labels && { labels }),
  };
}

/** A model's backbone and classifier, each on the current backend. */
export interface LoadedModel extends ModelDescription {
  readonly backbone: Pvt;
  /** Absent if the model has no classes. */
  readonly head?: ClassificationHead;
  dispose(): void;
}

/** Puts the parameters of a model on the current backend. */
export function loadModel(description: ModelDescription): LoadedModel {
  const { config, source } = description;
  const { classes } = config;
  const backbone = createPvt(config, source);
  const channels = config.dims.at(-1)!;
  const head =
    classes > 0 ? createClassificationHead({ channels, classes }, scoped(source, 'head')) : undefined;
  return {
    ...description,
    backbone,
    ...(head && { head }),
    dispose() {
      backbone.dispose();
      head?.dispose();
    },
  };
}
