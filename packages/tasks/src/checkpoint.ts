import {
  CheckpointError,
  fromStateDict,
  leavesOf,
  pvtSpec,
  scoped,
  type ParamSource,
  type PvtConfig,
  type Spec,
  type StateDict,
} from '@pvt/core';
import { namesOf, type RenameTable } from '@pvt/heads';
import { checkFit, type Checkpoint, type FitReport, type HeaderMetadata } from '@pvt/presets';

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

/** A checkpoint's header, with the class names and the preprocessing that apply to its model. */
export const readHeader = ({ header, labels, preprocessing }: Checkpoint): HeaderMetadata => ({
  ...(labels && { labels }),
  ...(preprocessing && { preprocessing }),
  ...(header.input && { input: header.input }),
  ...(header.anchorScale && { anchorScale: header.anchorScale }),
});
