import type { ParamSource, ParamSpec } from '@pvt/core';

/**
 * Our path → another implementation's, as pairs of a pattern and its replacements. Several replacements are
 * names that the implementation used at different times; the first that a source has is taken.
 */
export type RenameTable = readonly (readonly [path: RegExp, ...names: string[]])[];

/** The names that a path may have in another implementation; the path itself if no pattern matches. */
export function namesOf(path: string, table: RenameTable): string[] {
  for (const [pattern, ...names] of table)
    if (pattern.test(path)) return names.map((name) => path.replace(pattern, name));
  return [path];
}

/**
 * A source for our paths from one with another implementation's names.
 *
 * @example
 * const fpn = createFpn(config, renamed(scoped(source, 'backbone.fpn'), torchvisionFpnNames(3)));
 */
export function renamed(source: ParamSource, table: RenameTable): ParamSource {
  const nameIn = (path: string, leaf: ParamSpec): string | undefined =>
    namesOf(path, table).find((name) => source.shape(name, leaf) !== undefined);
  return {
    shape(path, leaf) {
      const name = nameIn(path, leaf);
      return name === undefined ? undefined : source.shape(name, leaf);
    },
    values: (path, leaf) => source.values(nameIn(path, leaf)!, leaf),
  };
}
