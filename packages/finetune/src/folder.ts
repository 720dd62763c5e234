import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PvtError, type StateDict } from '@pvt/core';
import { fromFloat32, parseSafetensors, toFloat32, writeSafetensors } from '@pvt/presets';
import type { Progress, Snapshot, Store } from '@pvt/training';

/*
 * What the folder of a run holds: run.json             the arguments, the progress, and which checkpoint is
 * the last checkpoint-…/        model.safetensors for every other command; state.safetensors to resume from
 * model.safetensors    the best model so far A checkpoint is written whole under a name of its own; only then
 * does run.json, replaced in one step, name it. So the process may be killed at any moment.
 */

/** A run's folder that cannot be read or written; `code` tells why. */
export class RunFolderError extends PvtError {}

/** What run.json holds. */
export interface RunRecord {
  readonly version: 1;
  /** The arguments that the run began with. */
  readonly arguments: Readonly<Record<string, unknown>>;
  /** Class names by index. */
  readonly classes: readonly string[];
  /** Name of the last checkpoint's folder. */
  readonly checkpoint: string;
  readonly progress: Progress;
}

/** The file of the best model, in the run's folder. */
export const modelFile = 'model.safetensors';
const recordFile = 'run.json';
const stateFile = 'state.safetensors';

export interface RunFolderOptions extends Pick<RunRecord, 'arguments' | 'classes'> {
  /** A model's file, see `Learner.encode`. */
  encode(weights: StateDict): Uint8Array;
}

/**
 * A store for `train` that writes a run into a folder, which must exist.
 *
 * @throws RunFolderError `write-failed`, when it saves
 * @example
 * const { classes } = data.train;
 * const store = createRunFolder('run', { arguments: {}, classes, encode: learner.encode });
 * for await (const event of finetuning.train({ store })) report(event);
 */
export function createRunFolder(
  folder: string,
  { arguments: given, classes, encode }: RunFolderOptions,
): Store {
  return {
    async save(kind, snapshot) {
      const model = encode(snapshot.average ?? snapshot.weights);
      if (kind === 'best') return replaceFile(join(folder, modelFile), model);
      const { progress } = snapshot;
      const checkpoint = `checkpoint-${`${progress.step}`.padStart(6, '0')}`;
      await mkdir(join(folder, checkpoint), { recursive: true });
      await replaceFile(join(folder, checkpoint, stateFile), encodeState(snapshot));
      await replaceFile(join(folder, checkpoint, modelFile), model);
      const record: RunRecord = { version: 1, arguments: given, classes, checkpoint, progress };
      await replaceFile(join(folder, recordFile), `${JSON.stringify(record)}\n`);
      await removeOldCheckpoints(folder, checkpoint);
    },
  };
}

/** Writes beside the path, waits until the disk has it, and moves it there. */
async function replaceFile(path: string, content: Uint8Array | string): Promise<void> {
  const partial = `${path}.part`;
  try {
    const file = await open(partial, 'w');
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (cause) {
    throw new RunFolderError(
      'write-failed',
      `createRunFolder: expected to write ${path}, got ${reason(cause)}; ` +
        'free some space or choose another folder, the checkpoint before is whole.',
      { cause },
    );
  }
}

async function removeOldCheckpoints(folder: string, current: string): Promise<void> {
  const old = (await readdir(folder)).filter((name) => checkpointName.test(name) && name !== current);
  await Promise.all(old.map((name) => rm(join(folder, name), { recursive: true, force: true })));
}

/**
 * The record of the run in a folder.
 *
 * @throws RunFolderError `run-missing` if there is none, `run-invalid` if run.json is something else
 * @example
 * const { arguments: given, progress } = await readRun('run');
 */
export async function readRun(folder: string): Promise<RunRecord> {
  const path = join(folder, recordFile);
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new RunFolderError(
      'run-missing',
      `readRun: expected a run of pvt train at ${path}, got ${reason(cause)}; ` +
        'give the folder that it was written to.',
      { cause },
    );
  });
  const record = parseJson(text);
  if (!isRecord(record))
    throw new RunFolderError(
      'run-invalid',
      `readRun: expected a run of pvt train in ${folder}, got a ${recordFile} of something else; ` +
        'give the folder that the run was written to.',
    );
  return record;
}

const checkpointName = /^checkpoint-\d+$/;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is RunRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { version, arguments: given, classes, checkpoint, progress } = value as Partial<RunRecord>;
  return (
    version === 1 &&
    typeof checkpoint === 'string' &&
    checkpointName.test(checkpoint) &&
    Boolean(given) &&
    Array.isArray(classes) &&
    Boolean(progress)
  );
}

/**
 * The snapshot that a run resumes from.
 *
 * @throws RunFolderError `state-missing` if its file is missing, CheckpointError if it is broken
 * @example
 * const resume = await readSnapshot('run', await readRun('run'));
 */
export async function readSnapshot(folder: string, { checkpoint, progress }: RunRecord): Promise<Snapshot> {
  const path = join(folder, checkpoint, stateFile);
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new RunFolderError(
      'state-missing',
      `readSnapshot: expected the state of the run at ${path}, got ${reason(cause)}; start a new run.`,
      { cause },
    );
  });
  const { average, ...others } = decodeState(bytes);
  return { ...others, ...(average.size > 0 && { average }), progress };
}

const groups = ['weights', 'average', 'optimizer'] as const;
type Group = (typeof groups)[number];

/** All tensors of a snapshot in one file, each under its group: `weights/…`, `average/…`, `optimizer/…`. */
function encodeState(snapshot: Snapshot): Uint8Array {
  const entries = groups.flatMap((group) =>
    Array.from(
      snapshot[group] ?? [],
      ([path, { values, shape }]) => [`${group}/${path}`, fromFloat32(values, shape)] as const,
    ),
  );
  return writeSafetensors(entries);
}

function decodeState(bytes: Uint8Array): Record<Group, StateDict> {
  const { tensors } = parseSafetensors(bytes);
  const inGroup = (group: Group): StateDict =>
    new Map(
      Array.from(tensors)
        .filter(([name]) => name.startsWith(`${group}/`))
        .map(([name, entry]) => [
          name.slice(group.length + 1),
          { shape: entry.shape, values: toFloat32(entry) },
        ]),
    );
  return { weights: inGroup('weights'), average: inGroup('average'), optimizer: inGroup('optimizer') };
}

/** What an operation on a file failed with, in words. */
function reason(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = 'code' in cause ? String(cause.code) : undefined;
  return code === 'ENOENT' ? 'nothing there' : (code ?? cause.message);
}
