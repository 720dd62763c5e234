import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { pvtConfig, type StateDict } from '@pvt/core';
import { fromFloat32, getModel, writeSafetensors } from '@pvt/presets';
import { generate } from '../golden/generator.ts';
import { generated } from '../golden/golden.ts';

/** Height and width of the image. */
export const size = 224;

/** Milliseconds before each turn: thread pools look for work for a while, beside whoever comes next. */
export const pause = 150;

/**
 * Of the largest logit. b2's repeated weights amplify rounding: onnxruntime is 4e-5 away from PyTorch, too.
 */
export const tolerance = 1e-4;

/** A model with generated weights under the official names, and an image [1, 3, size, size]. */
export interface Work {
  readonly name: 'pvt_v2_b0' | 'pvt_v2_b2';
  readonly config: ReturnType<typeof pvtConfig<{ version: 'v2'; dims: number[]; depths: number[] }>>;
  readonly state: StateDict;
  readonly image: Float32Array;
}

export function workOf(name: Work['name']): Work {
  const config = pvtConfig(getModel(name).config) as Work['config'];
  const state = generated({ naming: 'official', seed: 0 }, config);
  const repeated: StateDict = new Map(
    Array.from(state, ([path, { shape, values }]) => [
      path,
      { shape, values: values.map((_, i) => values[i % 1024]!) },
    ]),
  );
  const image = generate(0, 'input', [1, 3, size, size], new Map());
  return { name, config, state: name === 'pvt_v2_b0' ? state : repeated, image };
}

/** Makes tfjs's wasm backend the current one. */
export async function useWasm(): Promise<void> {
  const manifest = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json');
  setWasmPaths(`${dirname(manifest)}/dist/`);
  await tf.setBackend('wasm');
}

/** Writes tensors as a temporary safetensors file for another process, and deletes it after `use`. */
export async function inFile<T>(state: StateDict, use: (path: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'pvt-bench-'));
  const path = join(folder, 'tensors.safetensors');
  const tensors = Array.from(
    state,
    ([name, { shape, values }]) => [name, fromFloat32(values, shape)] as const,
  );
  writeFileSync(path, writeSafetensors(tensors));
  try {
    return await use(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A program that answers lines of JSON with lines of JSON. */
export function startProgram(command: string, args: readonly string[]) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    /** Its next answer, to `question` if there is one. */
    async ask(question?: object): Promise<Record<string, unknown>> {
      if (question !== undefined) child.stdin.write(`${JSON.stringify(question)}\n`);
      const { value, done } = await lines.next();
      if (done)
        throw new Error(
          `bench: expected an answer from ${command}, got the end of its output; its error is above.`,
        );
      return JSON.parse(value as string);
    },
    close: () => void child.stdin.end(),
  };
}

/** The first of these Pythons that has torch. */
export const findTorch = (): string | undefined =>
  ['python3', '/usr/bin/python3'].find((command) => spawnSync(command, ['-c', 'import torch']).status === 0);

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The largest difference of two lists of logits, as a share of the second's largest. */
export function deviation(logits: ArrayLike<number>, reference: ArrayLike<number>): number {
  const expected = Array.from(reference);
  const differences = expected.map((value, i) => Math.abs(value - logits[i]!));
  return Math.max(...differences) / Math.max(...expected.map(Math.abs));
}

/** Rows as a table; the first column is aligned to the left, the others to the right. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const cell = (text: string, column: number) =>
    column === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[column]!);
  return rows.map((row) => row.map(cell).join('  ')).join('\n');
}

/** Calls `turn` for three rounds of warm-up and then for `rounds` more, and shows how far it is. */
export async function eachRound(
  rounds: number,
  turn: (round: number, counted: boolean) => Promise<void>,
): Promise<void> {
  for (let round = -3; round < rounds; round++) {
    await turn(round, round >= 0);
    if (process.stderr.isTTY) process.stderr.write(`\r  round ${Math.max(0, round + 1)} of ${rounds} `);
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}
