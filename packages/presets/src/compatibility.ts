import {
  leavesOf,
  type CheckpointProblems,
  type ParamSource,
  type ShapeMismatch,
  type Spec,
  type StateDict,
} from '@pvt/core';
import { firstOf } from './text.ts';

/**
 * What happens to each parameter when a checkpoint is loaded into a model. Paths are canonical, except for
 * `unexpected` names that belong to no PVT.
 */
export interface CompatibilityReport extends Required<CheckpointProblems> {
  /** Taken from the checkpoint unchanged. */
  readonly loaded: readonly string[];
  /** Of another shape in the checkpoint: a new classifier, an adapted first convolution. */
  readonly adapted: readonly string[];
  /** With NaN or infinite values, of which no model is made. */
  readonly nonFinite: readonly string[];
}

/**
 * Compares a checkpoint with what a model needs, by names and shapes, and lists what is not finite.
 *
 * @example
 * console.log(renderCompatibility(checkCompatibility(checkpointSpec(checkpoint.config), checkpoint)));
 */
export function checkCompatibility(
  spec: Spec,
  {
    source,
    state,
    unexpected,
    nonFinite = [],
  }: {
    readonly source: ParamSource;
    readonly state: StateDict;
    readonly unexpected: readonly string[];
    readonly nonFinite?: readonly string[];
  },
): CompatibilityReport {
  const loaded: string[] = [];
  const adapted: string[] = [];
  const missing: string[] = [];
  const mismatched: ShapeMismatch[] = [];
  const needed = new Set<string>();
  for (const [path, leaf] of leavesOf(spec)) {
    needed.add(path);
    const found = source.shape(path, leaf);
    if (found === undefined) missing.push(path);
    else if (found.join() !== leaf.shape.join()) mismatched.push({ path, expected: leaf.shape, found });
    else (state.get(path)?.shape.join() === found.join() ? loaded : adapted).push(path);
  }
  return {
    loaded,
    adapted,
    missing,
    unexpected: [...unexpected, ...[...state.keys()].filter((path) => !needed.has(path))],
    mismatched,
    nonFinite,
  };
}

/** A mismatch as text. */
export const describeMismatch = ({ path, expected, found }: ShapeMismatch): string =>
  `${path} expected [${expected.join(', ')}] but found [${found.join(', ')}]`;

/** A report as a few lines of text. */
export function renderCompatibility({
  loaded,
  adapted,
  missing,
  unexpected,
  mismatched,
  nonFinite,
}: CompatibilityReport): string {
  const total = loaded.length + adapted.length + missing.length + mismatched.length;
  const line = (what: string, items: readonly string[]) =>
    items.length === 0 ? [] : [`${what} ${items.length}: ${firstOf(items, 4)}`];
  return [
    `loaded ${loaded.length} of ${total} parameters`,
    ...line('adapted', adapted),
    ...line('missing', missing),
    ...line('unexpected', unexpected),
    ...line('mismatched', mismatched.map(describeMismatch)),
    ...line('not finite', nonFinite),
  ].join('\n');
}
