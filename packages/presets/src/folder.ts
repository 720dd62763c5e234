import { CheckpointError, ConfigError, PvtError } from '@pvt/core';
import { readFrom, readRange, type ReadableFile } from './formats/readableFile.ts';
import { fromHuggingFaceConfig, fromPreprocessorConfig, labelsOf } from './huggingFaceConfig.ts';
import { JsonError, parseJson, type Json } from './json.ts';
import {
  readTensors,
  checkpointOf,
  type Checkpoint,
  type Companions,
  type ReadOptions,
  type TensorsOfFile,
} from './load.ts';
import { fromTimmConfig } from './timmConfig.ts';

export interface OpenOptions extends ReadOptions {
  /** Stops the reading between two pieces. */
  readonly signal?: AbortSignal;
}

/** What a folder calls its weights, the best first. */
export const weightFiles = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
] as const;

const maxJson = 16_777_216;

/**
 * Reads a checkpoint from a file, or from files by name: a Hugging Face or timm folder, in one piece or several. Config,
 * recipe and labels come from `config.json` and `preprocessor_config.json` where they are there.
 *
 * @throws CheckpointError where a file is broken, missing or no checkpoint, ConfigError where a JSON file says what cannot be
 * @example
 * const { config, source, preprocessing, labels } = await openCheckpoint(new Map([['config.json', configFile], ['model.safetensors', weightsFile]]));
 */
export async function openCheckpoint(
  files: ReadonlyMap<string, ReadableFile> | ReadableFile,
  options: OpenOptions = {},
): Promise<Checkpoint> {
  const { parts, companions } = await readParts(files, options.signal);
  return checkpointOf(parts, options, companions);
}

/** The files of weights, all of them, and what the files beside them tell. */
export async function readParts(
  files: ReadonlyMap<string, ReadableFile> | ReadableFile,
  signal?: AbortSignal,
): Promise<{ readonly parts: TensorsOfFile[]; readonly companions: Companions }> {
  const byName = 'read' in files ? new Map([[files.name, files]]) : files;
  const name = weightsIn([...byName.keys()]);
  const companions = await readCompanions(byName, signal);
  const parts = name.endsWith('.index.json')
    ? await readShards(byName, name, signal)
    : [await within(name, () => readTensorsOf(byName.get(name)!, signal))];
  return { parts, companions };
}

function weightsIn(names: readonly string[]): string {
  const known = weightFiles.find((candidate) => names.includes(candidate));
  if (known !== undefined) return known;
  const others = names.filter((name) => names.length === 1 || !name.endsWith('.json'));
  if (others.length === 1) return others[0]!;
  throw new CheckpointError(
    'weights-missing',
    `openCheckpoint: expected ${weightFiles.join(', ')} or a single file of weights, got ${others.length === 0 ? 'none' : others.slice(0, 4).join(', ').slice(0, 200)}; give the file that you mean.`,
  );
}

const readTensorsOf = (file: ReadableFile, signal?: AbortSignal): Promise<TensorsOfFile> =>
  readFrom(file, readTensors(file), signal);

/** Says in which of several files something is wrong. */
async function within<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CheckpointError)
      throw new CheckpointError(error.code, `${name}: ${error.message}`, error, { cause: error });
    throw error;
  }
}

async function readCompanions(
  files: ReadonlyMap<string, ReadableFile>,
  signal?: AbortSignal,
): Promise<Companions> {
  const config = await readJson(files.get('config.json'), signal);
  const preprocessor = await readJson(files.get('preprocessor_config.json'), signal);
  const processed = preprocessor === undefined ? {} : { preprocessing: fromPreprocessorConfig(preprocessor) };
  if (config === undefined) return processed;
  const has = (field: string) =>
    typeof config === 'object' && config !== null && Object.hasOwn(config, field);
  if (has('architecture') || has('pretrained_cfg')) return { ...fromTimmConfig(config), ...processed };
  if (!has('model_type'))
    throw new ConfigError(
      'config-unknown',
      "config.json: expected model_type, as transformers has it, or architecture, as timm has it, got neither; this is another library's config.",
    );
  const labels = labelsOf(config);
  return { config: fromHuggingFaceConfig(config), ...processed, ...(labels !== undefined && { labels }) };
}

/** Objects of own properties only: not even a key called `__proto__` reaches a prototype. */
const plain = (value: Json): unknown =>
  value instanceof Map
    ? Object.fromEntries(Array.from(value, ([key, inner]) => [key, plain(inner)]))
    : Array.isArray(value)
      ? (value as readonly Json[]).map(plain)
      : value;

async function readSmall(file: ReadableFile, signal?: AbortSignal): Promise<Uint8Array> {
  if (file.size > maxJson)
    throw new ConfigError(
      'json-large',
      `${file.name}: expected at most ${maxJson} bytes of JSON, got ${file.size}; this is another file.`,
    );
  return readFrom(file, readRange(0, file.size), signal);
}

const readJson = async (file: ReadableFile | undefined, signal?: AbortSignal): Promise<unknown> =>
  file === undefined ? undefined : parseConfig(file.name, await readSmall(file, signal));

/**
 * Reads a JSON file of a checkpoint's folder, strictly: a key that occurs twice is an error.
 *
 * @throws ConfigError
 */
export function parseConfig(name: string, bytes: Uint8Array): unknown {
  try {
    return plain(parseJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes), 1_000_000));
  } catch (error) {
    if (error instanceof PvtError || !(error instanceof JsonError || error instanceof TypeError)) throw error;
    const got = error instanceof JsonError ? error.message.slice(0, 120) : 'bytes that are no UTF-8';
    throw new ConfigError(
      error instanceof JsonError && error.kind === 'duplicate' ? 'json-duplicate' : 'json-invalid',
      `${name}: expected JSON with every key once, got ${JSON.stringify(got)}; get the file again.`,
      { cause: error },
    );
  }
}

/**
 * Which file holds each tensor, from the content of a `*.index.json`.
 *
 * @throws CheckpointError where it is no index, or names files outside of its folder
 * @example
 * const shards = new Set(parseShardIndex('model.safetensors.index.json', bytes).values());
 */
export function parseShardIndex(name: string, bytes: Uint8Array): ReadonlyMap<string, string> {
  const json = parseConfig(name, bytes);
  const map = typeof json === 'object' && json !== null && 'weight_map' in json ? json.weight_map : undefined;
  const refuse = (expected: string, got: unknown): never => {
    throw new CheckpointError(
      'shard-index',
      `${name}: expected ${expected}, got ${(JSON.stringify(got) ?? 'nothing').slice(0, 80)}; get the file again.`,
    );
  };
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    return refuse('an object weight_map', map);
  const entries = Object.entries(map);
  if (entries.length === 0) refuse('the file of each tensor', {});
  for (const [, file] of entries) {
    if (
      typeof file !== 'string' ||
      !/^[\w.-]{1,200}$/.test(file) ||
      file.startsWith('.') ||
      file.endsWith('.json')
    )
      refuse('names of files beside it', file);
  }
  return new Map(entries as [string, string][]);
}

async function readShards(
  files: ReadonlyMap<string, ReadableFile>,
  name: string,
  signal?: AbortSignal,
): Promise<TensorsOfFile[]> {
  const map = parseShardIndex(name, await readSmall(files.get(name)!, signal));
  const names = [...new Set(map.values())];
  const missing = names.filter((shard) => !files.has(shard));
  if (missing.length > 0)
    throw new CheckpointError(
      'shard-missing',
      `openCheckpoint: expected all ${names.length} files of ${name}, got none called ${missing.slice(0, 3).join(', ')}; get them too.`,
      { missing },
    );
  const parts: TensorsOfFile[] = [];
  for (const shard of names) {
    const part = await within(shard, () => readTensorsOf(files.get(shard)!, signal));
    const strays = [...part.tensors.keys()].filter((tensor) => map.get(tensor) !== shard);
    if (strays.length > 0)
      throw new CheckpointError(
        'shard-unexpected',
        `${shard}: expected the tensors that ${name} says, got ${strays.slice(0, 3).join(', ').slice(0, 200)} besides; get both files again.`,
        { unexpected: strays },
      );
    parts.push(part);
  }
  const held = new Set(parts.flatMap(({ tensors }) => [...tensors.keys()]));
  const lost = [...map.keys()].filter((tensor) => !held.has(tensor));
  if (lost.length > 0)
    throw new CheckpointError(
      'shard-incomplete',
      `openCheckpoint: expected all tensors of ${name}, got none called ${lost.slice(0, 3).join(', ').slice(0, 200)}; get the files again.`,
      { missing: lost },
    );
  return parts;
}
