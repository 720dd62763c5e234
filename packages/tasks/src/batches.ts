/** Neighbors with equal keys, at most `limit` of them in a group. */
function* groupNeighbors<T>(items: readonly T[], limit: number, keyOf: (item: T) => string): Generator<T[]> {
  let group: T[] = [];
  for (const item of items) {
    if (group.length > 0 && (group.length >= limit || keyOf(group[0]!) !== keyOf(item))) {
      yield group;
      group = [];
    }
    group.push(item);
  }
  if (group.length > 0) yield group;
}

/** How sources become batches and batches become results. */
export interface BatchSteps<Source, Prepared, Result> {
  prepare(source: Source): Promise<Prepared>;
  /** Neighbors with equal keys go through the model as one batch. */
  keyOf(prepared: Prepared): string;
  run(prepared: readonly Prepared[]): Promise<Result[]>;
}

/**
 * Prepares `batch` sources at a time, runs neighbors of equal keys as one batch, and yields to the event loop
 * between two batches.
 */
export async function runInBatches<Source, Prepared, Result>(
  sources: readonly Source[],
  { batch, signal }: { readonly batch: number; readonly signal?: AbortSignal | undefined },
  { prepare, keyOf, run }: BatchSteps<Source, Prepared, Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (let start = 0; start < sources.length; start += batch) {
    signal?.throwIfAborted();
    const prepared = await Promise.all(sources.slice(start, start + batch).map(prepare));
    for (const group of groupNeighbors(prepared, batch, keyOf)) {
      signal?.throwIfAborted();
      results.push(...(await run(group)));
      // A timer, because animation frames stop in hidden pages.
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
  signal?.throwIfAborted();
  return results;
}
