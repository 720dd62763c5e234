import { CheckpointError, type PvtConfig, type StateDict } from '@pvt/core';
import type { PreprocessingByNaming } from '../preprocessing.ts';
import { firstOf } from '../text.ts';
import { huggingFaceV1, huggingFaceV2 } from './huggingFace.ts';
import { officialV1, officialV2 } from './official.ts';
import { nameRules, outlineOf, type CanonicalName, type NameRules, type NameTable } from './rules.ts';
import { timmV2 } from './timm.ts';

export type Version = PvtConfig['version'];

/** What follows from whose names a checkpoint's parameters have. */
export interface NamingRules {
  /**
   * Canonical names to the implementation's, by version of PVT; a version that it does not have is absent.
   */
  readonly tables: { readonly [V in Version]?: NameTable };
  /** Epsilons of LayerNorm that its code runs checkpoints with. */
  readonly eps: PvtConfig['eps'];
  /** Whose evaluation its checkpoints are published with: a key of a variant's `preprocessing`. */
  readonly preprocessing: keyof PreprocessingByNaming;
}

const identity = (table: NameTable): NameTable =>
  Object.fromEntries(Object.keys(table).map((path) => [path, path]));

/** The official code and timm keep PyTorch's 1e-5 in patch embeddings and reductions. */
const officialEps = { block: 1e-6, patchEmbed: 1e-5, reduction: 1e-5 } as const;

/** Every naming; `canonical` are the keys of our own parameter tree. */
export const namings = {
  official: { tables: { v1: officialV1, v2: officialV2 }, eps: officialEps, preprocessing: 'official' },
  timm: { tables: { v2: timmV2 }, eps: officialEps, preprocessing: 'timm' },
  huggingFace: {
    tables: { v1: huggingFaceV1, v2: huggingFaceV2 },
    eps: { block: 1e-6, patchEmbed: 1e-6, reduction: 1e-6 },
    preprocessing: 'huggingFace',
  },
  canonical: {
    tables: { v1: identity(officialV1), v2: identity(officialV2) },
    eps: officialEps,
    preprocessing: 'official',
  },
} as const satisfies Readonly<Record<string, NamingRules>>;

/** Whose names a checkpoint's parameters have. */
export type Naming = keyof typeof namings;

/** What the names in a checkpoint say about it. */
export interface DetectedNaming {
  readonly naming: Naming;
  readonly version: Version;
}

const shownNames = (names: readonly string[]): string =>
  names.length === 0 ? 'none' : firstOf(names, 3, 120);

/**
 * Recognises the naming and the version whose table has most of the names; wrappers such as `module.` and
 * `backbone.` do not matter.
 *
 * @throws CheckpointError `naming-unknown` if no table has any of them
 * @example
 * detectNaming(['patch_embed1.proj.weight', 'norm1.weight']); // { naming: 'official', version: 'v2' }
 */
export function detectNaming(
  names: Iterable<string>,
  among: readonly Naming[] = Object.keys(namings) as Naming[],
): DetectedNaming {
  const all = Array.from(names, (name) => ({ name, outline: outlineOf(name) }));
  let best: DetectedNaming | undefined;
  let most = 0;
  for (const naming of among) {
    for (const [version, table] of Object.entries(namings[naming].tables) as [Version, NameTable][]) {
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
      `detectNaming: expected parameter names of a PVT (${among.join(', ')}), ` +
        `got ${shownNames(all.map(({ name }) => name))}; is this another model's checkpoint?`,
    );
  }
  return best;
}

function rulesOf({ naming, version }: DetectedNaming): NameRules {
  const { tables }: NamingRules = namings[naming];
  const table = tables[version];
  if (table === undefined)
    throw new CheckpointError(
      'naming-unsupported',
      `names: expected a naming that has PVT ${version}, got ${naming}, which has none; ` +
        'use official or huggingFace.',
    );
  return nameRules(table);
}

type Tensor = StateDict extends ReadonlyMap<string, infer T> ? T : never;

/** A checkpoint under canonical names. */
export interface CanonicalState extends DetectedNaming {
  readonly state: StateDict;
  /** The checkpoint's names of tensors that belong neither to the backbone nor to its classifier. */
  readonly unexpected: readonly string[];
}

/**
 * Renames a checkpoint's tensors to the keys of our parameter tree and joins what an implementation splits
 * (Hugging Face's key and value). Values are joined when they are first read.
 *
 * @throws CheckpointError if the naming is unknown, two names mean the same parameter, or a part is missing
 * @example
 * const { state, unexpected } = toCanonical(tensors);
 * const backbone = createPvt(config, fromStateDict(state));
 */
export function toCanonical(tensors: StateDict, naming?: Naming): CanonicalState {
  const detected = detectNaming(tensors.keys(), naming && [naming]);
  const { read } = rulesOf(detected);
  const unexpected: string[] = [];
  const known: KnownTensor[] = [];
  for (const [name, tensor] of tensors) {
    const meaning = read(name);
    if (meaning === undefined) unexpected.push(name);
    else known.push({ name, meaning, tensor });
  }
  const state = new Map(Array.from(partsByPath(known), ([path, parts]) => [path, joinParts(path, parts)]));
  return { ...detected, state, unexpected };
}

interface KnownTensor {
  readonly name: string;
  readonly meaning: CanonicalName;
  readonly tensor: Tensor;
}

/** The parts of each parameter by its canonical path, in their order; a part that is missing leaves a gap. */
function partsByPath(known: readonly KnownTensor[]): ReadonlyMap<string, readonly KnownTensor[]> {
  const stages = 1 + Math.max(-1, ...known.map(({ meaning }) => meaning.stage ?? -1));
  const found = new Map<string, KnownTensor[]>();
  for (const part of known) {
    const path = part.meaning.path(stages);
    const parts = found.get(path) ?? found.set(path, new Array(part.meaning.parts)).get(path)!;
    const other = parts[part.meaning.part];
    if (other !== undefined) {
      throw new CheckpointError(
        'names-collide',
        `toCanonical: expected one tensor for ${path}, got ${other.name} and ${part.name}; ` +
          'remove one of them.',
        { unexpected: [part.name] },
      );
    }
    parts[part.meaning.part] = part;
  }
  return found;
}

/** Stacks parts along their first axis. */
function joinParts(path: string, parts: readonly KnownTensor[]): Tensor {
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
        `toCanonical: expected ${tensors.length} tensors of one width to join into ${path}, got ${got}; ` +
          'the checkpoint is damaged.',
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
 * The inverse of {@link toCanonical}: a canonical state under another implementation's names, split as it
 * splits.
 *
 * @throws CheckpointError if the naming lacks the config's version or one of the paths
 * @example
 * const named = fromCanonical(state, 'timm', config);
 * const file = writeSafetensors(
 *   Array.from(named, ([name, { shape, values }]) => [name, fromFloat32(values, shape)]),
 * );
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
      `fromCanonical: expected parameters that ${naming} has for PVT ${config.version}, ` +
        `got ${shownNames(unexpected)} as well; leave them out.`,
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
      `fromCanonical: expected a number of rows that ${parts} parts divide evenly, got ${rows}; ` +
        'the state is damaged.',
    );
  }
  const size = values.length / parts;
  return { shape: [rows / parts, ...rest], values: values.subarray(part * size, (part + 1) * size) };
}
