import { CheckpointError, ConfigError, PvtError } from '@pvt/core';
import { openTensors, type OpenedFile } from './formats/lazyTensors.ts';
import { readFrom, readRange, type ReadableFile } from './formats/readableFile.ts';
import { fromHuggingFaceConfig, fromPreprocessorConfig, labelsOf } from './huggingFaceConfig.ts';
import { JsonError, parseJson, type Json } from './json.ts';
import { checkpointOf, type Checkpoint, type Companions, type ReadOptions } from './load.ts';
import { fromTimmConfig } from './timmConfig.ts';

export interface OpenOptions extends ReadOptions {
  /** Checked before each piece is read. */
  readonly signal?: AbortSignal;
}

/** Names of a folder's weights, the preferred one first. */
export const weightFiles = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
] as const;

const maxJson = 16_777_216;

/**
 * Reads a checkpoint from a file, or from files by name: a Hugging Face or timm folder, in one file of
 * weights or in shards. Config, preprocessing and labels come from its `config.json` and
 * `preprocessor_config.json`, if it has them.
 *
 * @throws CheckpointError if a file is broken, missing or no checkpoint; ConfigError if a JSON file is
 *   invalid
 * @example
 * const files = new Map([['config.json', configFile], ['model.safetensors', weightsFile]]);
 * const { config, source, preprocessing, labels } = await openCheckpoint(files);
 */
export async function openCheckpoint(
  files: ReadonlyMap<string, ReadableFile> | ReadableFile,
  options: OpenOptions = {},
): Promise<Checkpoint> {
  const { parts, companions } = await readParts(files, options.signal);
  return checkpointOf(parts, options, companions);
}

/** All files of weights, and what the files beside them say. */
export async function readParts(
  files: ReadonlyMap<string, ReadableFile> | ReadableFile,
  signal?: AbortSignal,
): Promise<{ readonly parts: OpenedFile[]; readonly companions: Companions }> {
  const byName = 'read' in files ? new Map([[files.name, files]]) : files;
  const name = weightsIn([...byName.keys()]);
  const companions = await readCompanions(byName, signal);
  const parts = name.endsWith('.index.json')
    ? await readShards(byName, name, signal)
    : [await namingFile(name, () => openFile(byName.get(name)!, signal))];
  return { parts, companions };
}

function weightsIn(names: readonly string[]): string {
  const known = weightFiles.find((candidate) => names.includes(candidate));
  if (known !== undefined) return known;
  const others = names.filter((name) => names.length === 1 || !name.endsWith('.json'));
  if (others.length === 1) return others[0]!;
  throw new CheckpointError(
    'weights-missing',
    `openCheckpoint: expected ${weightFiles.join(', ')} or a single file of weights, ` +
      `got ${others.slice(0, 4).join(', ').slice(0, 200) || 'none'}; give the file that you mean.`,
  );
}

const openFile = (file: ReadableFile, signal?: AbortSignal): Promise<OpenedFile> =>
  readFrom(file, openTensors(file), signal);

/** Runs `work` on a file, with the file's name in its errors. */
async function namingFile<T>(name: string, work: () => Promise<T>): Promise<T> {
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
      'config.json: expected model_type, as in transformers, or architecture, as in timm, got neither; ' +
        "this is another library's config.",
    );
  const labels = labelsOf(config);
  return { config: fromHuggingFaceConfig(config), ...processed, ...(labels !== undefined && { labels }) };
}

/** JSON's Maps as objects of own properties: not even a key called `__proto__` reaches a prototype. */
function toObjects(value: Json): unknown {
  if (value instanceof Map)
    return Object.fromEntries(Array.from(value, ([key, inner]) => [key, toObjects(inner)]));
  return Array.isArray(value) ? (value as readonly Json[]).map(toObjects) : value;
}

async function readSmall(file: ReadableFile, signal?: AbortSignal): Promise<Uint8Array> {
  if (file.size > maxJson)
    throw new ConfigError(
      'json-large',
      `${file.name}: expected at most ${maxJson} bytes of JSON, got ${file.size}; ` +
        'this is another kind of file.',
    );
  return readFrom(file, readRange(0, file.size), signal);
}

const readJson = async (file: ReadableFile | undefined, signal?: AbortSignal): Promise<unknown> =>
  file === undefined ? undefined : parseConfig(file.name, await readSmall(file, signal));

/**
 * Reads a JSON file of a checkpoint's folder. It is strict: a key that occurs twice is an error.
 *
 * @throws ConfigError
 */
export function parseConfig(name: string, bytes: Uint8Array): unknown {
  try {
    return toObjects(parseJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes), 1_000_000));
  } catch (error) {
    if (error instanceof PvtError || !(error instanceof JsonError || error instanceof TypeError)) throw error;
    const got = error instanceof JsonError ? error.message.slice(0, 120) : 'bytes that are not UTF-8';
    throw new ConfigError(
      error instanceof JsonError && error.kind === 'duplicate' ? 'json-duplicate' : 'json-invalid',
      `${name}: expected JSON in which every key occurs once, got ${JSON.stringify(got)}; ` +
        'download the file again.',
      { cause: error },
    );
  }
}

/** The file of each tensor, by the tensor's name. */
export type ShardIndex = ReadonlyMap<string, string>;

/**
 * Which file holds each tensor, from the content of a `*.index.json`.
 *
 * @throws CheckpointError `shard-index` if it is no index, or names files outside its folder
 * @example
 * const shards = new Set(parseShardIndex('model.safetensors.index.json', bytes).values());
 */
export function parseShardIndex(name: string, bytes: Uint8Array): ShardIndex {
  const json = parseConfig(name, bytes);
  const map = typeof json === 'object' && json !== null && 'weight_map' in json ? json.weight_map : undefined;
  const refuse = (expected: string, got: unknown): never => {
    throw new CheckpointError(
      'shard-index',
      `${name}: expected ${expected}, got ${(JSON.stringify(got) ?? 'nothing').slice(0, 80)}; ` +
        'download the file again.',
    );
  };
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    return refuse('weight_map to be an object', map);
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
  indexName: string,
  signal?: AbortSignal,
): Promise<OpenedFile[]> {
  const index = parseShardIndex(indexName, await readSmall(files.get(indexName)!, signal));
  const names = [...new Set(index.values())];
  const missing = names.filter((shard) => !files.has(shard));
  if (missing.length > 0)
    throw new CheckpointError(
      'shard-missing',
      `openCheckpoint: expected all ${names.length} files of ${indexName}, ` +
        `got none called ${missing.slice(0, 3).join(', ')}; download them too.`,
      { missing },
    );
  const parts: OpenedFile[] = [];
  for (const shard of names) {
    const part = await namingFile(shard, () => openFile(files.get(shard)!, signal));
    checkShard(shard, part, indexName, index);
    parts.push(part);
  }
  checkComplete(parts, indexName, index);
  return parts;
}

function checkShard(shard: string, { tensors }: OpenedFile, indexName: string, index: ShardIndex): void {
  const unexpected = [...tensors.keys()].filter((tensor) => index.get(tensor) !== shard);
  if (unexpected.length > 0)
    throw new CheckpointError(
      'shard-unexpected',
      `${shard}: expected the tensors that ${indexName} lists for it, ` +
        `got ${unexpected.slice(0, 3).join(', ').slice(0, 200)} as well; download both files again.`,
      { unexpected },
    );
}

function checkComplete(parts: readonly OpenedFile[], indexName: string, index: ShardIndex): void {
  const found = new Set(parts.flatMap(({ tensors }) => [...tensors.keys()]));
  const missing = [...index.keys()].filter((tensor) => !found.has(tensor));
  if (missing.length > 0)
    throw new CheckpointError(
      'shard-incomplete',
      `openCheckpoint: expected all tensors of ${indexName}, ` +
        `got none called ${missing.slice(0, 3).join(', ').slice(0, 200)}; download the files again.`,
      { missing },
    );
}
