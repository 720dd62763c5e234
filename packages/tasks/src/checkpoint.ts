import {
  CheckpointError,
  resizeMethods,
  type ResizeMethod,
  fromStateDict,
  leavesOf,
  pvtSpec,
  scoped,
  type ParamSource,
  type PvtConfig,
  type Preprocessing,
  type Spec,
  type StateDict,
  type InputSize,
  type Normalization,
} from '@pvt/core';
import { namesOf, type RenameTable } from '@pvt/heads';
import { checkFit, type Checkpoint, type FitReport } from '@pvt/presets';

/** A part of a dense model as a checkpoint holds it. */
export interface PartSpec {
  readonly spec: Spec;
  /** Where in the file the part's names begin, such as `neck.`. */
  readonly prefix: string;
  /** From our names to the file's, where they differ. */
  readonly names?: RenameTable;
}

/** A backbone's config for dense heads: none of the classifier, and for v1 no class token in its way. */
export const denseConfig = ({ config }: Checkpoint): PvtConfig =>
  config.version === 'v1' ? { ...config, classes: 0, classToken: false } : { ...config, classes: 0 };

/** Counters that no computation reads. */
const isCounter = (name: string): boolean => name.endsWith('.num_batches_tracked');

/** The name that begins with some prefix and ends in `ending`, cut to that prefix. */
export function prefixOf(tensors: StateDict, ending: string): string | undefined {
  for (const name of tensors.keys())
    if (name === ending || name.endsWith(`.${ending}`)) return name.slice(0, name.length - ending.length);
  return undefined;
}

/** The shape of a parameter that has to be there to tell a config from. */
export function shapeOf(tensors: StateDict, name: string): readonly number[] {
  const found = tensors.get(name);
  if (found === undefined)
    throw new CheckpointError(
      'head-unclear',
      `createTask: expected ${name} in the checkpoint to tell the head's config from, got none; give the parts instead.`,
      { missing: [name] },
    );
  return found.shape;
}

/** How many consecutive numbers, from 0, complete `name(i)` to a parameter's name. */
export function countOf(tensors: StateDict, name: (index: number) => string): number {
  let count = 0;
  while (tensors.has(name(count))) count++;
  return count;
}

/**
 * The sources of the backbone and the other parts, and what becomes of each parameter. Values that are not finite are
 * refused when they are read.
 */
export function partsOf(
  checkpoint: Checkpoint,
  config: PvtConfig,
  parts: Readonly<Record<string, PartSpec>>,
): { readonly sourceOf: (part: string) => ParamSource; readonly report: FitReport } {
  const state = new Map(Array.from(checkpoint.state, ([path, tensor]) => [`backbone.${path}`, tensor]));
  const unused = new Set(checkpoint.unexpected.filter((name) => !isCounter(name)));
  const spec: Record<string, Spec> = { backbone: pvtSpec(config) };
  for (const [key, part] of Object.entries(parts)) {
    spec[key] = part.spec;
    for (const [path] of leavesOf(part.spec)) {
      const name = namesOf(path, part.names ?? [])
        .map((candidate) => part.prefix + candidate)
        .find((candidate) => checkpoint.tensors.has(candidate));
      if (name === undefined) continue;
      state.set(`${key}.${path}`, checkpoint.tensors.get(name)!);
      unused.delete(name);
    }
  }
  const source = finite(fromStateDict(state));
  return {
    sourceOf: (part) => scoped(source, part),
    report: checkFit(spec, { source, state, unexpected: [...unused] }),
  };
}

const finite = (source: ParamSource): ParamSource => ({
  shape: source.shape,
  values(path, leaf) {
    const values = source.values(path, leaf);
    if (!values.every(Number.isFinite))
      throw new CheckpointError(
        'not-finite',
        `createTask: expected finite values in ${path}, got NaN or infinity; the training that wrote it diverged, take an earlier checkpoint.`,
      );
    return values;
  },
});

/** What our own training writes into a file's header besides. */
export interface HeaderMetadata {
  readonly labels?: readonly string[];
  readonly preprocessing?: Preprocessing;
  readonly input?: {
    readonly size: Partial<InputSize>;
    readonly normalize?: Normalization;
    /** Only our own training writes an `input`, and always with Pillow's resize; older files do not say so. */
    readonly resize?: ResizeMethod;
  };
  /** See `retinaNetRules`. */
  readonly anchorScale?: number;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isNumbers = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((one) => Number.isFinite(one));

/**
 * What a checkpoint says of itself.
 *
 * @throws CheckpointError `header-invalid` for a header entry that is not what training writes
 */
export function readHeader({ labels, preprocessing, metadata }: Checkpoint): HeaderMetadata {
  const read = <T>(key: string, valid: (value: unknown) => boolean): T | undefined => {
    const text = metadata.get(key);
    if (text === undefined) return undefined;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new CheckpointError(
        'header-invalid',
        `createTask: expected JSON in the file's header under ${key}, got ${text.slice(0, 40)}; convert the file again.`,
        {},
        { cause },
      );
    }
    if (!valid(value))
      throw new CheckpointError(
        'header-invalid',
        `createTask: expected ${key} in the file's header as training writes it, got ${text.slice(0, 40)}; convert the file again.`,
      );
    return value as T;
  };
  const isInput = (value: unknown): boolean =>
    isObject(value) &&
    (value['resize'] === undefined || resizeMethods.includes(value['resize'] as ResizeMethod)) &&
    (value['normalize'] === undefined ||
      (isObject(value['normalize']) &&
        isNumbers(value['normalize']['mean']) &&
        isNumbers(value['normalize']['std'])));
  const {
    normalize,
    resize = metadata.has('input') ? 'pillow' : undefined,
    ...size
  } = read<InputSize & Pick<NonNullable<HeaderMetadata['input']>, 'normalize' | 'resize'>>(
    'input',
    isInput,
  ) ?? {};
  const anchorScale = read<number>('anchorScale', (value) => typeof value === 'number' && value > 0);
  return {
    ...(labels && { labels }),
    ...(preprocessing && { preprocessing }),
    input: { size, ...(normalize && { normalize }), ...(resize && { resize }) },
    ...(anchorScale && { anchorScale }),
  };
}
