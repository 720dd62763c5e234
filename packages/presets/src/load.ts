import { CheckpointError, fromStateDict, linearSpec, pvtConfig, pvtSpec, type ParamSource, type PvtConfig, type PvtConfigInput, type Recipe, type StateDict } from '@pvt/core';
import { parseSafetensors, toFloat32, type TensorEntry } from './formats/safetensors.ts';
import { factsOf, inferConfig, nameOf, type InferredConfig } from './infer.ts';
import { getModel, type ModelName } from './models.ts';
import { toCanonical, type CanonicalState, type Naming } from './names/naming.ts';
import type { Recipes } from './recipes.ts';
import { withInputChannels, withNewClassifier } from './transfer.ts';

export interface ReadOptions {
  /** A variant's name, or a config; without it, names and shapes tell. What the config leaves open, the checkpoint fills in. */
  readonly config?: ModelName | PvtConfigInput;
  /** Whose names the file has; without it, they tell by themselves. */
  readonly naming?: Naming;
  /** Classes wanted: another number than the checkpoint's starts a new classifier, 0 drops it. */
  readonly classes?: number;
  /** Input channels wanted: another number than the checkpoint's adapts the first convolution as timm does. */
  readonly channels?: number;
  /** Seed of a new classifier; 0 by default. */
  readonly seed?: number;
}

/** Everything a file says, ready for `createPvt(checkpoint.config, checkpoint.source)`. */
export interface Checkpoint {
  /** Parameters by canonical path, converted to float32 when asked for. */
  readonly source: ParamSource;
  readonly config: PvtConfig;
  readonly naming: Naming;
  /** The variant, where it is one. */
  readonly model?: ModelName;
  /** How the variant's pictures are prepared where the checkpoint comes from. */
  readonly recipe?: Recipe;
  /** Fields of the config that neither the file nor the caller told, see `inferConfig`. */
  readonly assumed: readonly string[];
  readonly metadata: ReadonlyMap<string, string>;
  /** The file's parameters by canonical path, before any adaptation. */
  readonly state: StateDict;
  /** Names in the file that mean nothing to the backbone or its classifier. */
  readonly unexpected: readonly string[];
}

/** Every parameter of a backbone and its classifier, as a checkpoint holds them. */
export const checkpointSpec = (config: PvtConfig) => ({
  ...pvtSpec(config),
  ...(config.classes > 0 && { head: linearSpec(config.dims.at(-1)!, config.classes) }),
});

/**
 * Reads a safetensors checkpoint of the official code, timm or Hugging Face. Float32 values are views of `bytes`.
 *
 * @throws CheckpointError where the file is broken, holds another model, or does not tell its config; ConfigError for an impossible config
 * @example
 * const { config, source, recipe } = readCheckpoint(await readFile('pvt_v2_b0.safetensors'));
 * const backbone = createPvt(config, source);
 */
export function readCheckpoint(bytes: Uint8Array | ArrayBuffer, options: ReadOptions = {}): Checkpoint {
  const { tensors, metadata } = parseSafetensors(bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes);
  const canonical = toCanonical(new Map(Array.from(tensors, ([name, entry]) => [name, lazily(entry)])), options.naming);
  const { naming, unexpected } = canonical;
  const { config: found, model, assumed } = options.config === undefined ? inferConfig(canonical.state, canonical) : completeConfig(canonical, options.config);
  const { classes = found.classes, channels = found.channels, seed = 0 } = options;

  const state = classes === 0 ? new Map([...canonical.state].filter(([path]) => !path.startsWith('head.'))) : canonical.state;
  let source = fromStateDict(state);
  if (classes !== found.classes) source = withNewClassifier(source, seed);
  if (channels !== found.channels) source = withInputChannels(source);
  const recipes: Recipes = model === undefined ? {} : getModel(model).recipes;
  const recipe = recipes[naming === 'canonical' ? 'official' : naming];
  return {
    source,
    config: pvtConfig<PvtConfigInput>({ ...found, classes, channels }),
    naming,
    ...(model !== undefined && { model }),
    ...(recipe !== undefined && { recipe }),
    assumed,
    metadata,
    state,
    unexpected,
  };
}

const lazily = (entry: TensorEntry) => ({
  shape: entry.shape,
  get values() {
    return toFloat32(entry);
  },
});

/** The caller's config, with what it leaves open from the checkpoint; a variant's name leaves classes, channels and picture size open. */
function completeConfig(canonical: CanonicalState, given: ModelName | PvtConfigInput): InferredConfig {
  const facts = factsOf(canonical.state, canonical);
  const config = pvtConfig<PvtConfigInput>((typeof given === 'string' ? { ...getModel(given).config, ...facts } : { ...facts, ...given }) as PvtConfigInput);
  if (config.version !== canonical.version) {
    throw new CheckpointError('version-mismatch', `readCheckpoint: expected a checkpoint of PVT ${config.version}, as the config says, got one of ${canonical.version}; leave the config out to read it off the checkpoint.`);
  }
  const model = nameOf(config);
  return { config, assumed: [], ...(model !== undefined && { model }) };
}
