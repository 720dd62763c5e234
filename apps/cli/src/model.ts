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

/** The embedded checkpoint's variant. */
export const embeddedModel = embedded.model;

/** How the arguments name a model. */
export interface ModelOptions {
  readonly model?: string;
  readonly weights?: string;
  readonly init?: number;
  readonly config?: string;
}

export interface LoadedModel {
  /** For people: the variant and where its parameters are from. */
  readonly title: string;
  /** The variant, where it is one. */
  readonly name?: string;
  readonly config: PvtConfig;
  readonly preprocessing: Preprocessing;
  /** What images need to be told where the recipe is a guess. */
  readonly guess?: string;
  readonly labels?: readonly string[];
  readonly backbone: Pvt;
  readonly head?: ClassificationHead;
  dispose(): void;
}

/** A variant by name. @throws UsageError for a name that does not exist */
export function presetOf(name: string) {
  try {
    return getModel(name);
  } catch (error) {
    throw new UsageError(sentence(error), { cause: error });
  }
}

/** Where parameters come from, told by the arguments alone. */
type Origin = 'embedded' | 'weights' | 'init';

/** @throws UsageError where the arguments name no model, or a published variant without weights */
export function originOf({ model, weights, init, config }: ModelOptions): Origin {
  if (model !== undefined) presetOf(model);
  if (weights !== undefined) return 'weights';
  if (model === undefined && config === undefined) {
    throw new UsageError(
      `expected a model, got none; name a variant with --model (${embeddedModel} is embedded) or a checkpoint with --weights FILE, such as --weights pvt_v2_b0.in1k.`,
    );
  }
  if (init !== undefined) return 'init';
  if (model !== embeddedModel) {
    const [published] = listCheckpoints(`${model}.*`);
    throw new UsageError(
      `${model ?? "a model of one's own"} has no embedded weights; ${published ? `fetch the published ones with --weights ${published}, ` : ''}give a checkpoint with --weights FILE, or random numbers with features --init SEED, or use ${embeddedModel}, which is embedded.`,
    );
  }
  return 'embedded';
}

/** An architecture out of `--config`, in our JSON or Hugging Face's; ours may leave to the variant what does not differ. */
export async function readConfig(
  path: string,
  model?: string,
): Promise<{ readonly config: PvtConfigInput; readonly labels?: readonly string[] }> {
  const json = await readJson(path, 'a config');
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new WorkError(
      `--config: expected an object in ${path}, got ${JSON.stringify(json).slice(0, 40)}; write the fields of a PvtConfig or take a Hugging Face config.json.`,
    );
  }
  if (!('model_type' in json))
    return { config: { ...(model && presetOf(model).config), ...json } as PvtConfigInput };
  return { config: fromHuggingFaceConfig(json), ...telling(labelsOf(json)) };
}

/** Labels that say something: without names transformers numbers the classes. */
const telling = (labels: readonly string[] | undefined) =>
  labels?.some((label) => !/^LABEL_\d+$/.test(label)) && { labels };

/** ImageNet's usual evaluation at a config's own size, for an architecture that nobody has published a recipe for. */
function usualPreprocessing({ imageSize: [height, width] }: PvtConfig): Preprocessing {
  const { resize, ...rest } = getModel('pvt_v2_b0').preprocessing.official;
  return {
    ...rest,
    resize: { ...resize, to: { shortSide: Math.round(Math.max(height, width) / 0.875) } },
    crop: [height, width],
  };
}

interface Parameters {
  readonly title: string;
  readonly config: PvtConfig;
  readonly source: ParamSource;
  readonly name?: string;
  readonly preprocessing?: Preprocessing;
  readonly labels?: readonly string[];
}

/** Tells of what a checkpoint has besides, and of what it leaves open. */
export function noteGaps(
  path: string,
  { unexpected, assumed }: Pick<Checkpoint, 'unexpected' | 'assumed'>,
  io: Io,
): void {
  if (unexpected.length > 0)
    note(
      io,
      `${path} also holds ${counted(unexpected.length, 'tensor')} outside of the model, such as ${sentence(unexpected[0])}.`,
    );
  if (assumed.length > 0)
    note(
      io,
      `${path} does not tell its ${assumed.join(' and ')}; the usual ones are taken, --config can say others.`,
    );
}

async function readParameters(options: ModelOptions, io: Io): Promise<Parameters> {
  const { model, weights, init } = options;
  const origin = originOf(options);
  const given = options.config === undefined ? undefined : await readConfig(options.config, model);
  const labels = given?.labels && { labels: given.labels };

  if (origin === 'init') {
    const config = pvtConfig<PvtConfigInput>(given?.config ?? presetOf(model!).config);
    const name = model ?? modelNameOf(config);
    return {
      title: `${name ?? `PVT ${config.version}`}, random numbers from seed ${init}`,
      config,
      source: randomInit(init!),
      ...(name && { name }),
      ...labels,
    };
  }

  const path = weights ?? fileURLToPath(embedded.url);
  const config = given?.config ?? (model as ModelName | undefined);
  const checkpoint = await openCheckpoint(await fetchFiles(path, io), config === undefined ? {} : { config });
  const name = model ?? checkpoint.model;
  noteGaps(path, checkpoint, io);
  const own =
    origin === 'embedded'
      ? { preprocessing: embedded.preprocessing, labels: embedded.labels }
      : {
          ...(checkpoint.preprocessing && { preprocessing: checkpoint.preprocessing }),
          ...telling(checkpoint.labels),
        };
  const from =
    origin === 'embedded'
      ? 'the embedded checkpoint: ten classes of CIFAR-10, a demonstration'
      : `${path} (${checkpoint.naming} names)`;
  return {
    title: `${name ?? `PVT ${checkpoint.config.version}`} from ${from}`,
    config: checkpoint.config,
    source: checkpoint.source,
    ...(name && { name }),
    ...own,
    ...labels,
  };
}

/**
 * The model that the arguments name, its parameters on the current backend.
 *
 * @throws UsageError, WorkError, ConfigError or CheckpointError where the arguments or their files describe no model
 */
export async function loadModel(options: ModelOptions, io: Io): Promise<LoadedModel> {
  const { source, preprocessing, ...rest } = await readParameters(options, io);
  const { config, name } = rest;
  const published: Preprocessing | undefined =
    name === undefined ? undefined : presetOf(name).preprocessing.official;
  const backbone = createPvt(config, source);
  const head =
    config.classes > 0
      ? createClassificationHead(
          { channels: config.dims.at(-1)!, classes: config.classes },
          scoped(source, 'head'),
        )
      : undefined;
  return {
    ...rest,
    preprocessing: preprocessing ?? published ?? usualPreprocessing(config),
    ...(!preprocessing &&
      !published && {
        guess: `nobody has said how this model's images are prepared; they get ImageNet's usual way at ${config.imageSize.join('x')}.`,
      }),
    backbone,
    ...(head && { head }),
    dispose() {
      backbone.dispose();
      head?.dispose();
    },
  };
}
