import {
  CheckpointError,
  pvtClassifierSpec,
  pvtConfig,
  type ParamSource,
  type Preprocessing,
  type PvtConfig,
  type PvtConfigInput,
  type StateDict,
} from '@pvt/core';
import { finiteSource, nonFinitePaths } from './finite.ts';
import { openTensors, type OpenedFile } from './formats/lazyTensors.ts';
import { fromBytes, readSync } from './formats/readableFile.ts';
import type { Format } from './formats/tensorFile.ts';
import { readHeader, type HeaderMetadata } from './header.ts';
import { inferConfig, inferFields, modelNameOf, type InferredConfig } from './infer.ts';
import { getModel, type ModelName } from './models.ts';
import { namings, toCanonical, type CanonicalState, type Naming } from './names/naming.ts';
import type { PreprocessingByNaming } from './preprocessing.ts';
import { withInputChannels, withNewClassifier } from './transfer.ts';

export interface ReadOptions {
  /**
   * A variant's name, or a config whose missing fields the checkpoint fills in. Default: inferred from the
   * checkpoint's names and shapes.
   */
  readonly config?: ModelName | PvtConfigInput;
  /** Whose names the file has. Default: detected from the names. */
  readonly naming?: Naming;
  /**
   * Classes of the model: a number other than the checkpoint's starts a new classifier, 0 drops it. Default:
   * the checkpoint's.
   */
  readonly classes?: number;
  /**
   * Input channels of the model: for a number other than the checkpoint's, the first convolution is adapted
   * as timm does it. Default: the checkpoint's.
   */
  readonly channels?: number;
  /** Seed of a new classifier. Default: 0. */
  readonly seed?: number;
}

/** Everything a file says, ready for `createPvt(checkpoint.config, checkpoint.source)`. */
export interface Checkpoint {
  readonly format: Format;
  /**
   * Parameters by canonical path, converted to float32 when they are read.
   *
   * @throws CheckpointError `not-finite` for NaN and infinity
   */
  readonly source: ParamSource;
  readonly config: PvtConfig;
  readonly naming: Naming;
  /** The variant, if the checkpoint is of one. */
  readonly model?: ModelName;
  /**
   * How images are prepared: as the files beside the weights say, else the file's header, else as for the
   * published variant under this naming.
   */
  readonly preprocessing?: Preprocessing;
  /** Class names by index, as the files beside the weights say, else the file's header. */
  readonly labels?: readonly string[];
  /** Fields of the config that neither the file nor the caller gave, see `inferConfig`. */
  readonly assumed: readonly string[];
  /** What our own training wrote into the file's header. */
  readonly header: HeaderMetadata;
  /** Every entry of the file's header, as text. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The file's parameters by canonical path, before any adaptation. */
  readonly state: StateDict;
  /** All tensors by the file's own names. */
  readonly tensors: StateDict;
  /** The file's names of tensors that belong neither to the backbone nor to its classifier. */
  readonly unexpected: readonly string[];
  /** What the file holds beside the state and was not read: optimizer state, arguments. */
  readonly skipped: readonly string[];
  /** Canonical paths of parameters with NaN or infinite values; searched for at the first access. */
  readonly nonFinite: readonly string[];
}

/** Every parameter of a backbone and, if the config has classes, of its classifier. */
export const checkpointSpec = pvtClassifierSpec;

/**
 * Reads a checkpoint of the official code, timm, Hugging Face or the mm tools from bytes: safetensors, or
 * what `torch.save` writes. The content decides, not the file's name. Float32 values are views of `bytes`.
 *
 * @throws CheckpointError if the file is broken, no checkpoint, of another model, or does not show its
 *   config; ConfigError for an impossible config
 * @example
 * const { config, source, preprocessing } = readCheckpoint(await readFile('pvt_v2_b0.pth'));
 * const backbone = createPvt(config, source);
 */
export function readCheckpoint(bytes: Uint8Array | ArrayBuffer, options: ReadOptions = {}): Checkpoint {
  const file = fromBytes('readCheckpoint', bytes);
  return checkpointOf([readSync(file, openTensors(file))], options);
}

/** What the files beside the weights say. */
export interface Companions {
  readonly config?: PvtConfigInput;
  readonly preprocessing?: Preprocessing;
  readonly labels?: readonly string[];
}

/** One checkpoint of what one or more files hold. */
export function checkpointOf(
  files: readonly OpenedFile[],
  options: ReadOptions,
  companions: Companions = {},
): Checkpoint {
  const tensors = new Map(files.flatMap(({ state }) => [...state]));
  const canonical = toCanonical(tensors, options.naming);
  const { naming, unexpected } = canonical;
  const given = options.config ?? companions.config;
  const inferred =
    given === undefined ? inferConfig(canonical.state, canonical) : completeConfig(canonical, given);
  const { model, assumed } = inferred;
  const { classes = inferred.config.classes, channels = inferred.config.channels, seed = 0 } = options;

  const state = classes === 0 ? withoutClassifier(canonical.state) : canonical.state;
  const metadata = new Map(files.flatMap((file) => [...file.metadata]));
  const header = readHeader(metadata);
  const preprocessing =
    companions.preprocessing ?? header.preprocessing ?? publishedPreprocessing(model, naming);
  // Without a classifier the labels may be another head's, which a folder's config names as well.
  const sameClasses = classes === inferred.config.classes || classes === 0;
  const labels = sameClasses ? (companions.labels ?? header.labels) : undefined;
  let nonFinite: readonly string[] | undefined;
  return {
    format: files[0]!.format,
    source: adaptedSource(state, inferred.config, { classes, channels, seed }),
    config: pvtConfig<PvtConfigInput>({ ...inferred.config, classes, channels }),
    naming,
    ...(model !== undefined && { model }),
    ...(preprocessing !== undefined && { preprocessing }),
    ...(labels !== undefined && { labels }),
    assumed,
    header,
    metadata,
    state,
    tensors,
    unexpected,
    skipped: files.flatMap(({ skipped }) => skipped),
    get nonFinite() {
      return (nonFinite ??= nonFinitePaths(state));
    },
  };
}

const withoutClassifier = (state: StateDict): StateDict =>
  new Map([...state].filter(([path]) => !path.startsWith('head.')));

/**
 * The state as a source, with a new classifier and an adapted first convolution for other classes and
 * channels.
 */
function adaptedSource(
  state: StateDict,
  stored: PvtConfig,
  { classes, channels, seed }: Required<Pick<ReadOptions, 'classes' | 'channels' | 'seed'>>,
): ParamSource {
  let source = finiteSource(state);
  if (classes !== stored.classes) source = withNewClassifier(source, seed);
  if (channels !== stored.channels) source = withInputChannels(source);
  return source;
}

function publishedPreprocessing(model: ModelName | undefined, naming: Naming): Preprocessing | undefined {
  const published: PreprocessingByNaming = model === undefined ? {} : getModel(model).preprocessing;
  return published[namings[naming].preprocessing];
}

/**
 * The caller's config, with missing fields from the checkpoint; a variant's name leaves classes, channels and
 * image size to it.
 */
function completeConfig(canonical: CanonicalState, given: ModelName | PvtConfigInput): InferredConfig {
  const fields = inferFields(canonical.state, canonical);
  const input =
    typeof given === 'string' ? { ...getModel(given).config, ...fields } : { ...fields, ...given };
  const config = pvtConfig<PvtConfigInput>(input as PvtConfigInput);
  if (config.version !== canonical.version) {
    throw new CheckpointError(
      'version-mismatch',
      `readCheckpoint: expected a checkpoint of PVT ${config.version}, as the config says, ` +
        `got one of ${canonical.version}; leave the config out to infer it from the checkpoint.`,
    );
  }
  const model = modelNameOf(config);
  return { config, assumed: [], ...(model !== undefined && { model }) };
}
