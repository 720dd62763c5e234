import {
  CheckpointError,
  fromStateDict,
  leavesOf,
  pvtSpec,
  scoped,
  type Feature,
  type ParamSource,
  type PvtConfig,
  type Spec,
  type StateDict,
} from '@pvt/core';
import { namesOf, type RenameTable } from '@pvt/heads';
import { checkCompatibility, type Checkpoint, type CompatibilityReport } from '@pvt/presets';

/** A part of a model, and where a checkpoint holds its parameters. */
export interface PartSpec {
  readonly spec: Spec;
  /** What the part's names in the file begin with, such as `neck.`. */
  readonly prefix: string;
  /** From our names to the file's. Default: they are the same. */
  readonly names?: RenameTable;
}

/** The config of the backbone below a dense head: without classifier, and of PVT v1 without class token. */
export const backboneConfig = ({ config }: { readonly config: PvtConfig }): PvtConfig =>
  config.version === 'v1' ? { ...config, classes: 0, classToken: false } : { ...config, classes: 0 };

/** The levels of a backbone's pyramid. */
export const featuresOf = ({ dims, strides }: PvtConfig): Feature[] =>
  dims.map((channels, i) => ({
    name: `stage${i + 1}`,
    stride: strides.slice(0, i + 1).reduce((a, b) => a * b, 1),
    channels,
  }));

/** Counters that no computation reads. */
const isCounter = (name: string): boolean => name.endsWith('.num_batches_tracked');

/** What stands in front of `ending` in the first name that ends in it, such as `module.`. */
export function prefixOf(tensors: StateDict, ending: string): string | undefined {
  for (const name of tensors.keys())
    if (name === ending || name.endsWith(`.${ending}`)) return name.slice(0, name.length - ending.length);
  return undefined;
}

/**
 * The shape of a parameter that a config follows from.
 *
 * @throws CheckpointError `head-unclear` if it is missing
 */
export function shapeOf(tensors: StateDict, name: string): readonly number[] {
  const found = tensors.get(name);
  if (found === undefined)
    throw new CheckpointError(
      'head-unclear',
      `createTask: expected ${name} in the checkpoint, from which the head's config follows, got none; ` +
        'give the parts instead.',
      { missing: [name] },
    );
  return found.shape;
}

/** How many consecutive numbers from 0 make `nameOf` name a parameter. */
export function countOf(tensors: StateDict, nameOf: (index: number) => string): number {
  let count = 0;
  while (tensors.has(nameOf(count))) count++;
  return count;
}

/**
 * The sources of the backbone and the other parts, and what becomes of each parameter. Values that are not
 * finite are refused when they are read.
 */
export function findParts(
  checkpoint: Checkpoint,
  config: PvtConfig,
  parts: Readonly<Record<string, PartSpec>>,
): { readonly sourceOf: (part: string) => ParamSource; readonly report: CompatibilityReport } {
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
  const source = onlyFinite(fromStateDict(state));
  return {
    sourceOf: (part) => scoped(source, part),
    report: checkCompatibility(spec, { source, state, unexpected: [...unused] }),
  };
}

const onlyFinite = (source: ParamSource): ParamSource => ({
  shape: source.shape,
  values(path, leaf) {
    const values = source.values(path, leaf);
    if (!values.every(Number.isFinite))
      throw new CheckpointError(
        'not-finite',
        `createTask: expected finite values in ${path}, got NaN or infinity; ` +
          'the training that wrote it diverged, take an earlier checkpoint.',
      );
    return values;
  },
});
