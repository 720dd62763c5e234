import { ConfigError } from '@pvt/core';
import type { Preset } from './preset.ts';
import { matches, nearest } from './text.ts';
import { v1 } from './v1.ts';
import { v2 } from './v2.ts';

export type { Preset };

/** Every variant by name. */
export const models = { ...v1, ...v2 } as const satisfies Record<string, Preset>;

export type ModelName = keyof typeof models;

/** What {@link getModel} returns: the variant's literal types if its name is known at compile time. */
export type NamedPreset<N extends string = string> = { readonly name: N } & (N extends ModelName
  ? (typeof models)[N]
  : Preset);

/**
 * Names of the variants, in the order of the papers; `*` matches any characters, `?` one.
 *
 * @example
 * listModels('pvt_v2_b2*'); // ['pvt_v2_b2', 'pvt_v2_b2_li']
 */
export function listModels(pattern = '*'): ModelName[] {
  const names = Object.keys(models) as ModelName[];
  return names.filter((name) => matches(name, pattern));
}

const isModelName = (name: string): name is ModelName => Object.hasOwn(models, name);

/**
 * One variant: its config, preprocessing by naming, parameter count and accuracy.
 *
 * @throws ConfigError `model-unknown`, with the nearest names
 * @example
 * const { config, preprocessing } = getModel('pvt_v2_b0');
 * const backbone = createPvt(pvtConfig(config), randomInit(1));
 */
export function getModel<N extends string>(name: N): NamedPreset<N>;
export function getModel(name: string): NamedPreset {
  if (!isModelName(name)) {
    throw new ConfigError(
      'model-unknown',
      `getModel: expected the name of a variant, got ${JSON.stringify(name.slice(0, 64))}; ` +
        `did you mean ${nearest(name, listModels()).join(', ')}?`,
    );
  }
  return { name, ...models[name] };
}
