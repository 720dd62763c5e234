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
import { fromCanonical, namings, type Naming } from './names/naming.ts';
import { imageNetEvaluation } from './preprocessing.ts';
import { toTimmConfig } from './timmConfig.ts';

/** What can be saved: a checkpoint, or a model's config and `fromStateDict(await stateDict(model))`. */
export interface Savable {
  readonly config: PvtConfig;
  readonly source: ParamSource;
  readonly preprocessing?: Preprocessing;
  readonly labels?: readonly string[];
  /** Names of tensors that do not belong to the model. */
  readonly unexpected?: readonly string[];
}

export interface ConvertOptions {
  /** The naming to convert to. */
  readonly to: Naming;
  /** F16 and BF16 round to nearest, ties to even. Default: F32. */
  readonly dtype?: Dtype;
  /** Whether tensors that do not belong to the model are an error or left out. Default: `refuse`. */
  readonly unexpected?: 'refuse' | 'drop';
}

/**
 * A checkpoint as a safetensors file under another implementation's names.
 *
 * @throws CheckpointError if parameters are missing or do not fit, or tensors would be lost
 * @example
 * const file = convertCheckpoint(readCheckpoint(bytes), { to: 'timm', dtype: 'F16' });
 * await writeFile('model.safetensors', file);
 */
export function convertCheckpoint(
  { config, source, unexpected = [] }: Savable,
  { to, dtype = 'F32', unexpected: onUnexpected = 'refuse' }: ConvertOptions,
): Uint8Array {
  if (unexpected.length > 0 && onUnexpected === 'refuse') {
    throw new CheckpointError(
      'convert-unexpected',
      'convertCheckpoint: expected the parameters of a backbone and its classifier, ' +
        `got ${unexpected.length} more such as ${unexpected[0]!.slice(0, 80)}; ` +
        "leave them out with unexpected: 'drop'.",
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
      'convertCheckpoint: expected every parameter of the config, ' +
        `got none that fits for ${missing.slice(0, 3).join(', ')}; ` +
        'check that config and checkpoint describe the same model.',
      { missing },
    );
  const named = fromCanonical(state, to, config);
  // transformers refuses a file that does not name its framework.
  return writeSafetensors(
    Array.from(named, ([name, { shape, values }]) => [name, fromFloat32(values, shape, dtype)]),
    { format: 'pt' },
  );
}

export interface SaveOptions {
  /** The library that the folder is for: transformers or timm. */
  readonly layout: 'huggingFace' | 'timm';
  readonly dtype?: Dtype;
  /** Class names by index. Default: the checkpoint's. */
  readonly labels?: readonly string[];
  /** How images are prepared. Default: the checkpoint's, else the library's for PVT. */
  readonly preprocessing?: Preprocessing;
  /**
   * What to do if the library's code has other LayerNorm epsilons than the config: `keep` throws, `layout`
   * takes the library's, which moves logits by about 1e-5. Default: `keep`.
   */
  readonly epsilon?: 'keep' | 'layout';
  readonly unexpected?: ConvertOptions['unexpected'];
}

/**
 * The files of a folder that `AutoModelForImageClassification.from_pretrained` or
 * `timm.create_model('local-dir:…')` loads.
 *
 * @returns contents by file name, for `saveFolder` in Node, or for any storage in a browser
 * @throws ConfigError for what the library cannot express; CheckpointError if parameters are missing
 * @example
 * const trained = { config, source: fromStateDict(await stateDict(model)) };
 * await saveFolder('my-pvt', savePretrained(trained, { layout: 'timm', labels }));
 */
export function savePretrained(
  savable: Savable,
  { layout, dtype, labels = savable.labels, preprocessing, epsilon = 'keep', unexpected }: SaveOptions,
): ReadonlyMap<string, Uint8Array> {
  const naming = namings[layout];
  const config: PvtConfig = epsilon === 'keep' ? savable.config : { ...savable.config, eps: naming.eps };
  const prepared = preprocessing ?? savable.preprocessing ?? imageNetEvaluation[naming.preprocessing];
  const descriptions =
    layout === 'timm'
      ? { 'config.json': toTimmConfig(config, prepared, labels) }
      : {
          'config.json': toHuggingFaceConfig(config, labels === undefined ? {} : { labels }),
          'preprocessor_config.json': toPreprocessorConfig(prepared),
        };
  const weights = convertCheckpoint(savable, {
    to: layout,
    ...(dtype !== undefined && { dtype }),
    ...(unexpected !== undefined && { unexpected }),
  });
  return new Map([
    ...Object.entries(descriptions).map(([name, content]) => [name, jsonFile(content)] as const),
    ['model.safetensors', weights],
  ]);
}

const jsonFile = (content: Record<string, unknown>): Uint8Array =>
  new TextEncoder().encode(`${JSON.stringify(content, null, 2)}\n`);
