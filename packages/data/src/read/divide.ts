import { createRandom, type Random } from '@pvt/core';
import type { DataSet, Sample, Task } from '../dataSet.ts';
import { splitNames, type Split } from './files.ts';

/** A sample, and where its data set wants it. */
export interface Placed<K extends Task, Source> {
  readonly split: Split | undefined;
  readonly sample: Sample<K, Source>;
}

export interface Divided<K extends Task, Source> {
  readonly train: DataSet<K, Source>;
  readonly validation: DataSet<K, Source>;
  /** Where there is a third split. */
  readonly test?: DataSet<K, Source>;
}

/** In place; Fisher and Yates. */
export function shuffle<T>(items: T[], random: Random): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random.uniform() * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}

/** Splits of a data set: its own where it has two or more, else a seeded share of every class (of all images, where they have none). */
export function divide<K extends Task, Source>(
  task: K,
  classes: readonly string[],
  placed: readonly Placed<K, Source>[],
  { seed, share }: { readonly seed: number | string; readonly share: number },
  notes: string[],
): Divided<K, Source> {
  const set = (samples: readonly Sample<K, Source>[]): DataSet<K, Source> => ({ task, classes, samples });
  const own = Object.fromEntries(
    splitNames.map((name) => [
      name,
      placed.filter(({ split }) => split === name).map(({ sample }) => sample),
    ]),
  ) as Record<Split, Sample<K, Source>[]>;
  if (own.train.length > 0 && own.validation.length + own.test.length > 0) {
    const left = placed.filter(({ split }) => split === undefined).length;
    if (left > 0) notes.push(`${left} images belong to no split and are left out`);
    if (own.validation.length > 0)
      return {
        train: set(own.train),
        validation: set(own.validation),
        ...(own.test.length > 0 && { test: set(own.test) }),
      };
    return { train: set(own.train), validation: set(own.test) };
  }
  const strata = new Map<number, Sample<K, Source>[]>();
  for (const { sample } of placed) {
    const stratum = typeof sample.target === 'number' ? sample.target : 0;
    const others = strata.get(stratum);
    if (others === undefined) strata.set(stratum, [sample]);
    else others.push(sample);
  }
  const chosen = new Set(
    [...strata].flatMap(([label, samples]) =>
      shuffle([...samples], createRandom(`${seed}/split/${label}`)).slice(
        0,
        Math.round(samples.length * share),
      ),
    ),
  );
  notes.push(
    `no splits of its own: ${chosen.size} of ${placed.length} images are held back to validate, drawn with seed ${seed}`,
  );
  const samples = placed.map(({ sample }) => sample);
  return {
    train: set(samples.filter((sample) => !chosen.has(sample))),
    validation: set(samples.filter((sample) => chosen.has(sample))),
  };
}
