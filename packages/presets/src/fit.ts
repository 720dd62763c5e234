import {
  leavesOf,
  type CheckpointProblems,
  type ParamSource,
  type ShapeMismatch,
  type Spec,
  type StateDict,
} from '@pvt/core';

/** What happens to each parameter when a checkpoint meets a model. Paths are canonical, but for `unexpected` names that mean nothing to a PVT. */
export interface FitReport extends Required<CheckpointProblems> {
  /** Taken from the checkpoint as they are. */
  readonly loaded: readonly string[];
  /** Made for the occasion: a new classifier, an adapted first convolution. */
  readonly adapted: readonly string[];
  /** With NaN or infinite values; a model cannot be made of them. */
  readonly nonFinite: readonly string[];
}

/**
 * Compares a checkpoint with what a model needs, by names and shapes, and names what is not finite.
 *
 * @example
 * console.log(renderFit(checkFit(checkpointSpec(checkpoint.config), checkpoint)));
 */
export function checkFit(
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
): FitReport {
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

/** A report as a few lines of text. */
export function renderFit({
  loaded,
  adapted,
  missing,
  unexpected,
  mismatched,
  nonFinite,
}: FitReport): string {
  const total = loaded.length + adapted.length + missing.length + mismatched.length;
  const line = (what: string, items: readonly string[]) =>
    items.length === 0
      ? []
      : [
          `${what} ${items.length}: ${items.slice(0, 4).join(', ')}${items.length > 4 ? ` and ${items.length - 4} more` : ''}`,
        ];
  return [
    `loaded ${loaded.length} of ${total} parameters`,
    ...line('adapted', adapted),
    ...line('missing', missing),
    ...line('unexpected', unexpected),
    ...line(
      'mismatched',
      mismatched.map(
        ({ path, expected, found }) =>
          `${path} expected [${expected.join(', ')}] but found [${found.join(', ')}]`,
      ),
    ),
    ...line('not finite', nonFinite),
  ].join('\n');
}
