import { ConfigError, type PvtConfigInput } from '@pvt/core';
import type { Recipes } from './recipes.ts';
import { v1 } from './v1.ts';
import { v2 } from './v2.ts';

/** A variant as data. */
export interface Preset {
  /** What `pvtConfig` completes. */
  readonly config: PvtConfigInput;
  readonly recipes: Recipes;
  /** Trainable values, the classifier included. */
  readonly params: number;
  /** Published accuracy in percent: the share of ImageNet-1k validation pictures whose best guess is right. */
  readonly top1?: number;
}

/** Every variant by name. */
export const models = { ...v1, ...v2 } as const satisfies Record<string, Preset>;

export type ModelName = keyof typeof models;

/** What {@link getModel} returns for a name: its own literal types where the name is known while compiling. */
export type NamedPreset<N extends string = string> = { readonly name: N } & (N extends ModelName ? (typeof models)[N] : Preset);

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

/** Shell-style match without a regular expression, so that no pattern can be slow: a star only ever backtracks to itself. */
function matches(name: string, pattern: string): boolean {
  let at = 0;
  let p = 0;
  let star = -1;
  let resume = 0;
  while (at < name.length) {
    if (pattern[p] === '*') {
      star = p++;
      resume = at;
    } else if (pattern[p] === '?' || pattern[p] === name[at]) {
      p++;
      at++;
    } else if (star >= 0) {
      p = star + 1;
      at = ++resume;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
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
    const nearest = listModels()
      .map((known) => ({ known, distance: editDistance(name.toLowerCase(), known) }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, 3)
      .map(({ known }) => known);
    throw new ConfigError('model-unknown', `getModel: expected the name of a variant, got ${JSON.stringify(name.slice(0, 64))}; did you mean ${nearest.join(', ')}?`);
  }
  return { name, ...models[name as ModelName] } as unknown as NamedPreset<N>;
}

/** Levenshtein's: insertions, deletions and substitutions between two short texts. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= Math.min(a.length, 64); i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
