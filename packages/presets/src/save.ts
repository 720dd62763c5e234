import {
  CheckpointError,
  leavesOf,
  type ParamSource,
  type PvtConfig,
  type Preprocessing,
  type StateDict,
} from '@pvt/core';
import type { Dtype } from './formats/dtypes.ts';
import { fromFloat32, writeSafetensors } from './formats/safetensors.ts';
import { toHuggingFaceConfig, toPreprocessorConfig } from './huggingFaceConfig.ts';
import { checkpointSpec } from './load.ts';
import { fromCanonical, type Naming } from './names/naming.ts';
import { toTimmConfig } from './timmConfig.ts';
import { huggingFace, timm } from './preprocessing.ts';

/** What can be saved: a checkpoint that was read, or a model's config and `fromStateDict(await stateDict(model))`. */
export interface Savable {
  readonly config: PvtConfig;
  readonly source: ParamSource;
  readonly preprocessing?: Preprocessing;
  readonly labels?: readonly string[];
  /** Names that the model has no place for. */
  readonly unexpected?: readonly string[];
}

export interface ConvertOptions {
  /** Whose names the parameters get. */
  readonly to: Naming;
  /** F32 by default; F16 and BF16 round to nearest, ties to even. */
  readonly dtype?: Dtype;
  /** What happens to tensors that the model has no place for: `refuse`, the default, or `drop`. */
  readonly unexpected?: 'refuse' | 'drop';
}

/**
 * A checkpoint as a safetensors file in another implementation's names.
 *
 * @throws CheckpointError where parameters are missing or do not fit, or tensors would be lost
 * @example
 * await writeFile('model.safetensors', convertCheckpoint(readCheckpoint(bytes), { to: 'timm', dtype: 'F16' }));
 */
export function convertCheckpoint(
  { config, source, unexpected = [] }: Savable,
  { to, dtype = 'F32', unexpected: strays = 'refuse' }: ConvertOptions,
): Uint8Array {
  if (unexpected.length > 0 && strays === 'refuse') {
    throw new CheckpointError(
      'convert-unexpected',
      `convertCheckpoint: expected the parameters of a backbone and its classifier, got ${unexpected.length} more such as ${unexpected[0]!.slice(0, 80)}; leave them out with unexpected: 'drop'.`,
      { unexpected },
    );
  }
  const missing: string[] = [];
  const state: StateDict = new Map(
    Array.from(leavesOf(checkpointSpec(config)), ([path, leaf]) => {
      const shape = source.shape(path, leaf);
      if (shape?.join() !== leaf.shape.join()) missing.push(path);
      return [
        path,
        { shape: leaf.shape, values: shape === undefined ? new Float32Array(0) : source.values(path, leaf) },
      ];
    }),
  );
  if (missing.length > 0)
    throw new CheckpointError(
      'checkpoint-misfit',
      `convertCheckpoint: expected every parameter of the config, got none that fits for ${missing.slice(0, 3).join(', ')}; check that config and checkpoint describe the same model.`,
      { missing },
    );
  const named = fromCanonical(state, to, config);
  // transformers refuses a file that does not say which framework its tensors are for.
  return writeSafetensors(
    Array.from(named, ([name, { shape, values }]) => [name, fromFloat32(values, shape, dtype)]),
    { format: 'pt' },
  );
}

export interface SaveOptions {
  /** Whose library the folder is for: transformers, or timm. */
  readonly layout: 'huggingFace' | 'timm';
  readonly dtype?: Dtype;
  /** Class names by index; by default the checkpoint's. */
  readonly labels?: readonly string[];
  /** How images are prepared; by default the checkpoint's, else what the library does for PVT. */
  readonly preprocessing?: Preprocessing;
  /**
   * LayerNorm's epsilons where the library's code does not have the config's: `keep`, the default, refuses; `layout` takes
   * the library's, which moves logits by about 1e-5.
   */
  readonly epsilon?: 'keep' | 'layout';
  readonly unexpected?: ConvertOptions['unexpected'];
}

/**
 * The files of a folder that `AutoModelForImageClassification.from_pretrained`, or `timm.create_model('local-dir:…')`, loads.
 *
 * @returns contents by file name, for `saveFolder` in Node, or for any storage in a browser
 * @throws ConfigError for what the library cannot express, CheckpointError where parameters are missing
 * @example
 * await saveFolder('my-pvt', savePretrained({ config, source: fromStateDict(await stateDict(model)) }, { layout: 'timm', labels }));
 */
export function savePretrained(
  savable: Savable,
  { layout, dtype, labels = savable.labels, preprocessing, epsilon = 'keep', unexpected }: SaveOptions,
): ReadonlyMap<string, Uint8Array> {
  const config: PvtConfig =
    epsilon === 'keep'
      ? savable.config
      : {
          ...savable.config,
          eps:
            layout === 'timm'
              ? { block: 1e-6, patchEmbed: 1e-5, reduction: 1e-5 }
              : { block: 1e-6, patchEmbed: 1e-6, reduction: 1e-6 },
        };
  const weights = () =>
    convertCheckpoint(savable, {
      to: layout,
      ...(dtype !== undefined && { dtype }),
      ...(unexpected !== undefined && { unexpected }),
    });
  const prepared = preprocessing ?? savable.preprocessing;
  if (layout === 'timm') {
    const json = toTimmConfig(config, prepared ?? timm, labels);
    return new Map([
      ['config.json', jsonFile(json)],
      ['model.safetensors', weights()],
    ]);
  }
  const json = toHuggingFaceConfig(config, labels === undefined ? {} : { labels });
  const preprocessor = toPreprocessorConfig(prepared ?? huggingFace);
  return new Map([
    ['config.json', jsonFile(json)],
    ['preprocessor_config.json', jsonFile(preprocessor)],
    ['model.safetensors', weights()],
  ]);
}

const jsonFile = (content: Record<string, unknown>): Uint8Array =>
  new TextEncoder().encode(`${JSON.stringify(content, null, 2)}\n`);
