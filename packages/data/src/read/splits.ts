import { createRandom, type Random } from '@pvt/core';
import type { DataSet, FileSource, Sample, Task } from '../dataSet.ts';
import { splitNames, type Split } from './files.ts';

/** A sample, and the split that its data set assigns it to, if any. */
export interface SplitSample<K extends Task, Source> {
  readonly split: Split | undefined;
  readonly sample: Sample<K, Source>;
}

export interface DataSetSplits<K extends Task, Source = FileSource> {
  readonly train: DataSet<K, Source>;
  readonly validation: DataSet<K, Source>;
  /** Absent if there are fewer than three splits. */
  readonly test?: DataSet<K, Source>;
}

/** Shuffles in place (Fisher and Yates). */
export function shuffle<T>(items: T[], random: Random): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random.uniform() * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}

/** How validation images are drawn if a data set has no splits. */
export interface HoldOut {
  readonly seed: number | string;
  readonly share: number;
}

/** The splits of a data set: its own if it has two or more, else a seeded share of the images is held out. */
export function splitDataSet<K extends Task, Source>(
  task: K,
  classes: readonly string[],
  samples: readonly SplitSample<K, Source>[],
  holdOut: HoldOut,
  notes: string[],
): DataSetSplits<K, Source> {
  const dataSet = (some: readonly Sample<K, Source>[]): DataSet<K, Source> => ({
    task,
    classes,
    samples: some,
  });
  const inSplit = (name: Split | undefined) =>
    samples.filter(({ split }) => split === name).map(({ sample }) => sample);
  const [train, validation, test] = splitNames.map(inSplit) as [
    Sample<K, Source>[],
    Sample<K, Source>[],
    Sample<K, Source>[],
  ];
  if (train.length === 0 || validation.length + test.length === 0) {
    const all = samples.map(({ sample }) => sample);
    const heldOut = drawHoldOut(all, holdOut);
    notes.push(
      `no splits of its own: ${heldOut.size} of ${samples.length} images are held out for validation, ` +
        `drawn with seed ${holdOut.seed}`,
    );
    return {
      train: dataSet(all.filter((sample) => !heldOut.has(sample))),
      validation: dataSet(all.filter((sample) => heldOut.has(sample))),
    };
  }
  const omitted = inSplit(undefined).length;
  if (omitted > 0) notes.push(`${omitted} images belong to no split and are left out`);
  if (validation.length === 0) return { train: dataSet(train), validation: dataSet(test) };
  return {
    train: dataSet(train),
    validation: dataSet(validation),
    ...(test.length > 0 && { test: dataSet(test) }),
  };
}

/** A seeded share of each class, or of all images if they have no single class. */
function drawHoldOut<K extends Task, Source>(
  samples: readonly Sample<K, Source>[],
  { seed, share }: HoldOut,
): ReadonlySet<Sample<K, Source>> {
  const strata = new Map<number, Sample<K, Source>[]>();
  for (const sample of samples) {
    const stratum = typeof sample.target === 'number' ? sample.target : 0;
    const others = strata.get(stratum);
    if (others === undefined) strata.set(stratum, [sample]);
    else others.push(sample);
  }
  const drawn = [...strata].flatMap(([label, stratum]) =>
    shuffle([...stratum], createRandom(`${seed}/split/${label}`)).slice(
      0,
      Math.round(stratum.length * share),
    ),
  );
  return new Set(drawn);
}
