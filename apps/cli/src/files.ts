import { readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { refusal, sentence, UsageError, WorkError } from './errors.ts';

/** @throws WorkError if there is no readable file */
export async function readBytes(path: string, what: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new WorkError(`expected ${what} at ${path}, got ${refusal(error)}; check the path.`, {
      cause: error,
    });
  }
}

/** UTF-8 text, without a byte order mark. @throws WorkError if there is no readable text */
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

/** @throws WorkError if the file is not JSON */
export async function readJson(path: string, what: string): Promise<unknown> {
  const text = await readText(path, what);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new WorkError(
      `expected ${what} in JSON at ${path}, got something else (${sentence(error)}); correct the file.`,
      { cause: error },
    );
  }
}

/** The path without links, so that equal files have equal paths. */
const canonicalPath = (path: string): Promise<string> => realpath(path).catch(() => resolve(path));

/** @throws UsageError if an output would overwrite an input or another output */
export async function checkDistinct(outputs: readonly string[], inputs: readonly string[]): Promise<void> {
  const used = new Set(await Promise.all(inputs.map(canonicalPath)));
  for (const path of outputs) {
    const at = await canonicalPath(path);
    if (used.has(at))
      throw new UsageError(
        `expected a file of its own for every output, got ${path} twice; choose another name.`,
      );
    used.add(at);
  }
}

/**
 * Checks before the work that its results can be written after it.
 *
 * @throws UsageError if an output would overwrite an input or another output, WorkError if its folder does
 * not exist
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
 * Writes a file whole or not at all: it is written beside its path and then moved there. A signal in between
 * removes the partial file.
 *
 * @throws WorkError if it cannot be written
 */
export async function writeWhole(path: string, content: Uint8Array): Promise<void> {
  const partial = join(dirname(path), `.${basename(path)}.${process.pid}.part`);
  const abandon = (signal: NodeJS.Signals) =>
    void rm(partial, { force: true }).finally(() => process.kill(process.pid, signal));
  for (const signal of signals) process.once(signal, abandon);
  try {
    await writeFile(partial, content);
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw new WorkError(
      `expected to write ${path}, got ${refusal(error)}; check the folder and its permissions.`,
      { cause: error },
    );
  } finally {
    for (const signal of signals) process.off(signal, abandon);
  }
}
