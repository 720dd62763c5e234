import { CheckpointError, type PvtConfig, type StateDict } from '@pvt/core';
import { huggingFaceV1, huggingFaceV2 } from './huggingFace.ts';
import { officialV1, officialV2 } from './official.ts';
import { nameRules, outlineOf, type CanonicalName, type NameRules, type NameTable } from './rules.ts';
import { timmV2 } from './timm.ts';

/** Whose names a checkpoint's parameters have; `canonical` are the keys of our own parameter tree. */
export type Naming = 'official' | 'timm' | 'huggingFace' | 'canonical';
export type Version = PvtConfig['version'];

const itself = (table: NameTable): NameTable =>
  Object.fromEntries(Object.keys(table).map((path) => [path, path]));

/** Every naming's table, by version. */
export const nameTables: Readonly<Record<Naming, { readonly [V in Version]?: NameTable }>> = {
  official: { v1: officialV1, v2: officialV2 },
  timm: { v2: timmV2 },
  huggingFace: { v1: huggingFaceV1, v2: huggingFaceV2 },
  canonical: { v1: itself(officialV1), v2: itself(officialV2) },
};

/** What the names in a checkpoint tell about it. */
export interface DetectedNaming {
  readonly naming: Naming;
  readonly version: Version;
}

const some = (names: readonly string[]): string =>
  names.length === 0
    ? 'none'
    : names.slice(0, 3).join(', ').slice(0, 120) + (names.length > 3 ? ` and ${names.length - 3} more` : '');

/**
 * Recognises a naming and a version by how many of the names each table has; wrappers such as `module.` and `backbone.` do not matter.
 *
 * @throws CheckpointError where no table has any of them
 * @example
 * detectNaming(['patch_embed1.proj.weight', 'norm1.weight']); // { naming: 'official', version: 'v2' }
 */
export function detectNaming(
  names: Iterable<string>,
  among: readonly Naming[] = Object.keys(nameTables) as Naming[],
): DetectedNaming {
  const all = Array.from(names, (name) => ({ name, outline: outlineOf(name) }));
  let best: DetectedNaming | undefined;
  let most = 0;
  for (const naming of among) {
    for (const [version, table] of Object.entries(nameTables[naming]) as [Version, NameTable][]) {
      const { read } = nameRules(table);
      const known = all.filter(({ name, outline }) => read(name, outline) !== undefined).length;
      if (known <= most) continue;
      [best, most] = [{ naming, version }, known];
      if (known === all.length) return best;
    }
  }
  if (best === undefined) {
    throw new CheckpointError(
      'naming-unknown',
      `detectNaming: expected parameter names of a PVT (${among.join(', ')}), got ${some(all.map(({ name }) => name))}; is this another model's checkpoint?`,
    );
  }
  return best;
}

function rulesOf({ naming, version }: DetectedNaming): NameRules {
  const table = nameTables[naming][version];
  if (table === undefined)
    throw new CheckpointError(
      'naming-unsupported',
      `names: expected a naming that has PVT ${version}, got ${naming}, which has none; use official or huggingFace.`,
    );
  return nameRules(table);
}

type Tensor = StateDict extends ReadonlyMap<string, infer T> ? T : never;

/** A checkpoint under canonical names. */
export interface CanonicalState extends DetectedNaming {
  readonly state: StateDict;
  /** Names, as the checkpoint has them, that mean nothing to the backbone or its classifier. */
  readonly unexpected: readonly string[];
}

/**
 * Renames a checkpoint's tensors to the keys of our parameter tree and joins what an implementation keeps in parts
 * (Hugging Face's key and value). Values are joined when they are asked for.
 *
 * @throws CheckpointError where the naming is unknown, two names mean the same parameter, or a part is missing
 * @example
 * const { state, unexpected } = toCanonical(tensors);
 * const backbone = createPvt(config, fromStateDict(state));
 */
export function toCanonical(tensors: StateDict, naming?: Naming): CanonicalState {
  const detected = detectNaming(tensors.keys(), naming && [naming]);
  const { read } = rulesOf(detected);
  const unexpected: string[] = [];
  const known: [name: string, meaning: CanonicalName, tensor: Tensor][] = [];
  for (const [name, tensor] of tensors) {
    const meaning = read(name);
    if (meaning === undefined) unexpected.push(name);
    else known.push([name, meaning, tensor]);
  }
  const stages = 1 + Math.max(-1, ...known.map(([, { stage }]) => stage ?? -1));

  const found = new Map<string, { name: string; tensor: Tensor }[]>();
  for (const [name, meaning, tensor] of known) {
    const path = meaning.path(stages);
    const parts = found.get(path) ?? found.set(path, new Array(meaning.parts)).get(path)!;
    const other = parts[meaning.part];
    if (other !== undefined) {
      throw new CheckpointError(
        'names-collide',
        `toCanonical: expected one tensor for ${path}, got ${other.name} and ${name}; keep one of them.`,
        { unexpected: [name] },
      );
    }
    parts[meaning.part] = { name, tensor };
  }
  const state = new Map(Array.from(found, ([path, parts]) => [path, join(path, parts)]));
  return { ...detected, state, unexpected };
}

/** Stacks parts along their first axis. */
function join(path: string, parts: readonly { readonly name: string; readonly tensor: Tensor }[]): Tensor {
  if (parts.length === 1) return parts[0]!.tensor;
  const tensors = Array.from(parts, (part) => part?.tensor);
  const first = tensors.find((tensor) => tensor !== undefined)!;
  const [, ...rest] = first.shape;
  let rows = 0;
  for (const tensor of tensors) {
    if (
      tensor === undefined ||
      tensor.shape.slice(1).join() !== rest.join() ||
      tensor.shape.length !== first.shape.length ||
      tensor.shape.length === 0
    ) {
      const got = tensors.map((t) => (t === undefined ? 'none' : `[${t.shape}]`)).join(' and ');
      throw new CheckpointError(
        'parts-mismatched',
        `toCanonical: expected ${tensors.length} tensors of one width to join into ${path}, got ${got}; the checkpoint is damaged.`,
        { missing: [path] },
      );
    }
    rows += tensor.shape[0]!;
  }
  return {
    shape: [rows, ...rest],
    get values() {
      const values = new Float32Array(tensors.reduce((size, tensor) => size + tensor.values.length, 0));
      let at = 0;
      for (const tensor of tensors) {
        values.set(tensor.values, at);
        at += tensor.values.length;
      }
      return values;
    },
  };
}

/**
 * The inverse of {@link toCanonical}: a canonical state under another implementation's names, split where it keeps parts.
 *
 * @throws CheckpointError where the naming does not have the config's version or one of the paths
 * @example
 * const file = writeSafetensors(Array.from(fromCanonical(state, 'timm', config), ([name, { shape, values }]) => [name, fromFloat32(values, shape)]));
 */
export function fromCanonical(
  state: StateDict,
  naming: Naming,
  config: Pick<PvtConfig, 'version' | 'dims'>,
): StateDict {
  const { write } = rulesOf({ naming, version: config.version });
  const named = new Map<string, Tensor>();
  const unexpected: string[] = [];
  for (const [path, tensor] of state) {
    const names = write(path, config.dims.length);
    if (names === undefined) unexpected.push(path);
    else
      for (const [part, name] of names.entries())
        named.set(name, names.length === 1 ? tensor : slice(tensor, part, names.length));
  }
  if (unexpected.length > 0) {
    throw new CheckpointError(
      'names-unmapped',
      `fromCanonical: expected parameters that ${naming} has for PVT ${config.version}, got ${some(unexpected)} besides; leave them out.`,
      { unexpected },
    );
  }
  return named;
}

/** One of `parts` equal runs of rows. */
function slice({ shape: [rows = 0, ...rest], values }: Tensor, part: number, parts: number): Tensor {
  if (rows % parts !== 0) {
    throw new CheckpointError(
      'parts-mismatched',
      `fromCanonical: expected a first axis that ${parts} parts share equally, got ${rows} rows; the state is damaged.`,
    );
  }
  const size = values.length / parts;
  return { shape: [rows / parts, ...rest], values: values.subarray(part * size, (part + 1) * size) };
}
