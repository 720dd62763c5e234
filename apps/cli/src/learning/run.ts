import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { StateDict } from '@pvt/core';
import type { Progress, Snapshot, Store } from '@pvt/training';
import { refusal, WorkError } from '../errors.ts';
import { readJson } from '../files.ts';

/*
 * What a run's folder holds:
 *   run.json             the arguments, the progress, and which checkpoint is the last
 *   checkpoint-…/        model.safetensors, for every other command; state.safetensors, to go on from
 *   model.safetensors    the best model so far
 * A checkpoint is written whole under a name of its own; only then does run.json, replaced in one step, name it. So the
 * process may be killed at any moment.
 */

/** The arguments that a run was begun with, and where it is. */
export interface RunRecord {
  readonly version: 1;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly classes: readonly string[];
  readonly checkpoint: string;
  readonly progress: Progress;
}

export const modelFile = 'model.safetensors';
const recordFile = 'run.json';
const stateFile = 'state.safetensors';

/** Written, on the disk, and then moved to its name. */
async function writeSafely(path: string, content: Uint8Array | string): Promise<void> {
  const begun = `${path}.part`;
  try {
    const file = await open(begun, 'w');
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(begun, path);
  } catch (error) {
    throw new WorkError(
      `expected to write ${path}, got ${refusal(error)}; make room or choose another --out, the checkpoint before is whole.`,
      { cause: error },
    );
  }
}

const groups = ['weights', 'average', 'optimizer'] as const;

/**
 * Keeps a run in a folder.
 *
 * @param encode makes a model's file of weights
 */
export async function folderStore(
  folder: string,
  {
    arguments: given,
    classes,
    encode,
  }: Pick<RunRecord, 'arguments' | 'classes'> & { encode(weights: StateDict): Uint8Array },
): Promise<Store> {
  const { fromFloat32, writeSafetensors } = await import('@pvt/presets');
  return {
    async save(kind, snapshot) {
      const model = encode(snapshot.average ?? snapshot.weights);
      if (kind === 'best') return writeSafely(join(folder, modelFile), model);
      const checkpoint = `checkpoint-${`${snapshot.progress.step}`.padStart(6, '0')}`;
      const at = join(folder, checkpoint);
      await mkdir(at, { recursive: true });
      const tensors = groups.flatMap((group) =>
        Array.from(
          snapshot[group] ?? [],
          ([path, { values, shape }]) => [`${group}/${path}`, fromFloat32(values, shape)] as const,
        ),
      );
      await writeSafely(join(at, stateFile), writeSafetensors(tensors));
      await writeSafely(join(at, modelFile), model);
      const record: RunRecord = {
        version: 1,
        arguments: given,
        classes,
        checkpoint,
        progress: snapshot.progress,
      };
      await writeSafely(join(folder, recordFile), `${JSON.stringify(record)}\n`);
      const old = (await readdir(folder)).filter(
        (name) => /^checkpoint-\d+$/.test(name) && name !== checkpoint,
      );
      await Promise.all(old.map((name) => rm(join(folder, name), { recursive: true, force: true })));
    },
  };
}

/** @throws WorkError where the folder holds no run */
export async function readRecord(folder: string): Promise<RunRecord> {
  const record = (await readJson(join(folder, recordFile), 'a run of pvt train')) as Partial<RunRecord>;
  if (
    record.version !== 1 ||
    typeof record.checkpoint !== 'string' ||
    !/^checkpoint-\d+$/.test(record.checkpoint) ||
    !record.arguments ||
    !Array.isArray(record.classes) ||
    !record.progress
  ) {
    throw new WorkError(
      `expected a run of pvt train in ${folder}, got a ${recordFile} of something else; give the folder of --out.`,
    );
  }
  return record as RunRecord;
}

/** The state that a run goes on from. @throws WorkError where it is missing, CheckpointError where it is broken */
export async function readSnapshot(folder: string, { checkpoint, progress }: RunRecord): Promise<Snapshot> {
  const { parseSafetensors, toFloat32 } = await import('@pvt/presets');
  const path = join(folder, checkpoint, stateFile);
  const bytes = await readFile(path).catch((error: unknown) => {
    throw new WorkError(`expected the state of the run at ${path}, got ${refusal(error)}; begin anew.`, {
      cause: error,
    });
  });
  const parts = { weights: new Map(), average: new Map(), optimizer: new Map() } satisfies Record<
    (typeof groups)[number],
    Map<string, { shape: readonly number[]; values: Float32Array }>
  >;
  for (const [name, entry] of parseSafetensors(bytes).tensors) {
    const group = groups.find((one) => name.startsWith(`${one}/`));
    if (group !== undefined)
      parts[group].set(name.slice(group.length + 1), { shape: entry.shape, values: toFloat32(entry) });
  }
  const { average, ...rest } = parts;
  return { ...rest, ...(average.size > 0 && { average }), progress };
}
