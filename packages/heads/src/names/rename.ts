import type { ParamSource } from '@pvt/core';

/**
 * Our path → another implementation's, as pairs of a pattern and what replaces it. Several replacements are names that the
 * implementation used at different times; the first that a source has is taken.
 */
export type RenameTable = readonly (readonly [path: RegExp, ...names: string[]])[];

/** The names that a path may have; the path itself where no row fits. */
export function namesOf(path: string, table: RenameTable): string[] {
  for (const [pattern, ...names] of table)
    if (pattern.test(path)) return names.map((name) => path.replace(pattern, name));
  return [path];
}

/**
 * A source under our paths over one with another implementation's names.
 *
 * @example
 * const fpn = createFpn(config, renamed(scoped(source, 'backbone.fpn'), torchvisionFpnNames(3)));
 */
export function renamed(source: ParamSource, table: RenameTable): ParamSource {
  return {
    shape(path, leaf) {
      for (const name of namesOf(path, table)) {
        const shape = source.shape(name, leaf);
        if (shape !== undefined) return shape;
      }
      return undefined;
    },
    values: (path, leaf) =>
      source.values(
        namesOf(path, table).find((name) => source.shape(name, leaf) !== undefined)!,
        leaf,
      ),
  };
}
