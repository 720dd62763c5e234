import { readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { refusal, UsageError, WorkError } from './errors.ts';

/** @throws WorkError where there is no readable file */
export async function readBytes(path: string, what: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new WorkError(`expected ${what} at ${path}, got ${refusal(error)}; check the path.`, {
      cause: error,
    });
  }
}

/** UTF-8 text, without a byte order mark. @throws WorkError where there is no readable text */
export async function readText(path: string, what: string): Promise<string> {
  const content = await readBytes(path, what);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch (error) {
    throw new WorkError(`expected ${what} in UTF-8 at ${path}, got bytes that are no text; check the path.`, {
      cause: error,
    });
  }
}

/** @throws WorkError where the file is no JSON */
export async function readJson(path: string, what: string): Promise<unknown> {
  const text = await readText(path, what);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new WorkError(
      `expected ${what} in JSON at ${path}, got something else (${error instanceof Error ? error.message : error}); correct the file.`,
      { cause: error },
    );
  }
}

/** The one name of what is at a path, whatever links lead there. */
const place = (path: string): Promise<string> => realpath(path).catch(() => resolve(path));

/** @throws UsageError where an output would overwrite an input or another output */
export async function checkDistinct(outputs: readonly string[], inputs: readonly string[]): Promise<void> {
  const taken = new Set(await Promise.all(inputs.map(place)));
  for (const path of outputs) {
    const at = await place(path);
    if (taken.has(at))
      throw new UsageError(
        `expected a file of its own for every output, got ${path} twice; choose another name.`,
      );
    taken.add(at);
  }
}

/**
 * Says before the work what would stop its result from being written after it.
 *
 * @throws UsageError where an output would overwrite an input or another output, WorkError where its folder does not exist
 */
export async function checkOutputs(
  paths: readonly (string | undefined)[],
  inputs: readonly string[],
): Promise<void> {
  const outputs = paths.filter((path) => path !== undefined);
  await checkDistinct(outputs, inputs);
  for (const path of outputs) {
    const folder = dirname(path);
    const found = await stat(folder).then((status) => (status.isDirectory() ? undefined : 'a file'), refusal);
    if (found !== undefined)
      throw new WorkError(
        `expected a folder ${folder} to write ${basename(path)} to, got ${found}; create it first.`,
      );
  }
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Writes a file whole or not at all: beside its place first, then moved there. A signal in between removes what was begun.
 *
 * @throws WorkError where it cannot be written
 */
export async function writeWhole(path: string, content: Uint8Array): Promise<void> {
  const begun = join(dirname(path), `.${basename(path)}.${process.pid}.part`);
  const abandon = (signal: NodeJS.Signals) =>
    void rm(begun, { force: true }).finally(() => process.kill(process.pid, signal));
  for (const signal of signals) process.once(signal, abandon);
  try {
    await writeFile(begun, content);
    await rename(begun, path);
  } catch (error) {
    await rm(begun, { force: true });
    throw new WorkError(
      `expected to write ${path}, got ${refusal(error)}; check the folder and its permissions.`,
      { cause: error },
    );
  } finally {
    for (const signal of signals) process.off(signal, abandon);
  }
}
