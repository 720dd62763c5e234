import { ConfigError, type PvtConfigInput } from '@pvt/core';
import type { PreprocessingByNaming } from './preprocessing.ts';
import { matches, nearest } from './text.ts';
import { v1 } from './v1.ts';
import { v2 } from './v2.ts';

/** A variant as data. */
export interface Preset {
  /** What `pvtConfig` completes. */
  readonly config: PvtConfigInput;
  readonly preprocessing: PreprocessingByNaming;
  /** Trainable values, the classifier included. */
  readonly params: number;
  /** Published accuracy in percent: the share of ImageNet-1k validation images whose best guess is right. */
  readonly top1?: number;
}

/** Every variant by name. */
export const models = { ...v1, ...v2 } as const satisfies Record<string, Preset>;

export type ModelName = keyof typeof models;

/** What {@link getModel} returns for a name: its own literal types where the name is known while compiling. */
export type NamedPreset<N extends string = string> = { readonly name: N } & (N extends ModelName
  ? (typeof models)[N]
  : Preset);

/**
 * Names of the variants, in the order of the papers; `*` stands for any characters, `?` for one.
 *
 * @example
 * listModels('pvt_v2_b2*'); // ['pvt_v2_b2', 'pvt_v2_b2_li']
 */
export function listModels(pattern = '*'): ModelName[] {
  const names = Object.keys(models) as ModelName[];
  return names.filter((name) => matches(name, pattern));
}

/**
 * One variant: config, preprocessing recipes, parameters, accuracy.
 *
 * @throws ConfigError for a name that does not exist, with the nearest ones
 * @example
 * const { config, recipes } = getModel('pvt_v2_b0');
 * const backbone = createPvt(pvtConfig(config), randomInit(1));
 */
export function getModel<N extends string>(name: N): NamedPreset<N> {
  if (!Object.hasOwn(models, name)) {
    throw new ConfigError(
      'model-unknown',
      `getModel: expected the name of a variant, got ${JSON.stringify(name.slice(0, 64))}; did you mean ${nearest(name, listModels()).join(', ')}?`,
    );
  }
  return { name, ...models[name as ModelName] } as unknown as NamedPreset<N>;
}
