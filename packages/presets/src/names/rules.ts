/**
 * Canonical path → the same parameter's path in an implementation. Several paths are parts of one parameter,
 * stacked along its first axis. `{stage}`, `{block}` and `{last}` (the last stage) are zero-based numbers,
 * `{stage+1}` counts from one, and `*` is `weight` or `bias`. Where two rows fit a canonical path, the first
 * is written.
 */
export type NameTable = Readonly<Record<string, string | readonly string[]>>;

/** Values of a template's placeholders in a name. */
interface Fields {
  stage?: number;
  block?: number;
  last?: number;
  leaf?: string;
}

interface Template {
  readonly text: string;
  read(name: string): Fields | undefined;
  write(fields: Fields): string;
}

const placeholder = /\{(stage|block|last)(\+1)?\}|\*/g;

function template(text: string): Template {
  const holes = [...text.matchAll(placeholder)].map(([, field = 'leaf', plus]) => ({
    field: field as keyof Fields,
    offset: plus ? 1 : 0,
  }));
  const literals = text.split(/\{[^}]*\}|\*/).map((part) => part.replaceAll('.', '\\.'));
  const groups = holes.map(({ field }) => (field === 'leaf' ? '(weight|bias)' : '(0|[1-9]\\d{0,3})'));
  const pattern = new RegExp(`^${literals.map((part, i) => part + (groups[i] ?? '')).join('')}$`);
  return {
    text,
    read(name) {
      const found = pattern.exec(name);
      if (found === null) return undefined;
      const values = holes.map(
        ({ field, offset }, i) =>
          [field, field === 'leaf' ? found[i + 1]! : Number(found[i + 1]) - offset] as const,
      );
      return values.some(([, value]) => value === -1) ? undefined : Object.fromEntries(values);
    },
    write: (fields) =>
      text.replace(placeholder, (_, field: keyof Fields = 'leaf', plus?: string) =>
        plus ? `${Number(fields[field]) + 1}` : `${fields[field]}`,
      ),
  };
}

/**
 * A parameter, or a part of one, under its canonical name. `path` knows the last stage only once all names
 * were seen.
 */
export interface CanonicalName {
  readonly stage: number | undefined;
  readonly part: number;
  readonly parts: number;
  path(stages: number): string;
}

/** A table in both directions. */
export interface NameRules {
  /** What a name means, or undefined if the table does not have it. */
  read(name: string, outline?: string): CanonicalName | undefined;
  /** The names of a canonical path, or undefined if the table does not have it. */
  write(path: string, stages: number): readonly string[] | undefined;
}

/**
 * Wrappers that training code puts around a model, and the names of the models inside Hugging Face's
 * classifiers.
 */
const wrappers = /^(?:(?:module|model|backbone|body|pvt|pvt_v2)\.)+/;

const compiled = /* @__PURE__ */ new WeakMap<NameTable, NameRules>();

/** A table's rules, compiled at their first use. */
export function nameRules(table: NameTable): NameRules {
  const rules = compiled.get(table) ?? compile(table);
  compiled.set(table, rules);
  return rules;
}

/** A name without wrappers and numbers, by which the few rows of any table are found that may have it. */
export const outlineOf = (name: string): string =>
  name
    .replace(wrappers, '')
    .replace(/\d+/g, '#')
    .replace(/\.(?:weight|bias)$/, '.*');

function compile(table: NameTable): NameRules {
  const rows = Object.entries(table).map(([canonical, named]) => {
    const names = typeof named === 'string' ? [named] : named;
    return {
      canonical: template(canonical),
      names: names.map(template),
      bare: names.map((name) => template(name.replace(wrappers, ''))),
    };
  });
  const byOutline = new Map<
    string,
    { canonical: Template; candidate: Template; part: number; parts: number }[]
  >();
  for (const { canonical, bare } of rows) {
    for (const [part, candidate] of bare.entries()) {
      const key = outlineOf(candidate.text.replace(/\{[^}]*\}/g, '0'));
      const found = byOutline.get(key) ?? byOutline.set(key, []).get(key)!;
      found.push({ canonical, candidate, part, parts: bare.length });
    }
  }
  return {
    read(name, outline = outlineOf(name)) {
      for (const { canonical, candidate, part, parts } of byOutline.get(outline) ?? []) {
        const fields = candidate.read(name.replace(wrappers, ''));
        if (fields !== undefined)
          return {
            stage: fields.stage ?? fields.last,
            part,
            parts,
            path: (stages) => canonical.write({ last: stages - 1, ...fields }),
          };
      }
      return undefined;
    },
    write(path, stages) {
      for (const { canonical, names } of rows) {
        const fields = canonical.read(path);
        if (fields === undefined || (fields.last ?? stages - 1) !== stages - 1) continue;
        return names.map((name) => name.write({ last: stages - 1, ...fields }));
      }
      return undefined;
    },
  };
}
