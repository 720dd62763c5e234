import {
  CheckpointError,
  fromStateDict,
  pvtClassifierSpec,
  pvtConfig,
  resamplings,
  type ParamSource,
  type PvtConfig,
  type PvtConfigInput,
  type Preprocessing,
  type StateDict,
} from '@pvt/core';
import { readTensorFile } from './formats/detect.ts';
import {
  fromBytes,
  readAtOnce,
  type ReadableFile,
  type Reading,
  type SynchronousFile,
} from './formats/readableFile.ts';
import { toFloat32 } from './formats/safetensors.ts';
import {
  entryOf,
  type Format,
  type Storage,
  type StoredTensor,
  type TensorFile,
} from './formats/tensorFile.ts';
import { factsOf, inferConfig, nameOf, type InferredConfig } from './infer.ts';
import { getModel, type ModelName } from './models.ts';
import { toCanonical, type CanonicalState, type Naming } from './names/naming.ts';
import type { PreprocessingByNaming } from './preprocessing.ts';
import { withInputChannels, withNewClassifier } from './transfer.ts';

export interface ReadOptions {
  /** A variant's name, or a config; without it, names and shapes tell. What the config leaves open, the checkpoint fills in. */
  readonly config?: ModelName | PvtConfigInput;
  /** Whose names the file has; without it, they tell by themselves. */
  readonly naming?: Naming;
  /** Classes wanted: another number than the checkpoint's starts a new classifier, 0 drops it. */
  readonly classes?: number;
  /** Input channels wanted: another number than the checkpoint's adapts the first convolution as timm does. */
  readonly channels?: number;
  /** Seed of a new classifier; 0 by default. */
  readonly seed?: number;
}

/** Everything a file says, ready for `createPvt(checkpoint.config, checkpoint.source)`. */
export interface Checkpoint {
  readonly format: Format;
  /** Parameters by canonical path, converted to float32 when asked for. @throws CheckpointError for values that are not finite */
  readonly source: ParamSource;
  readonly config: PvtConfig;
  readonly naming: Naming;
  /** The variant, where it is one. */
  readonly model?: ModelName;
  /** How images are prepared: as the files beside the weights say, else as the variant's where the checkpoint comes from. */
  readonly preprocessing?: Preprocessing;
  /** Class names by index, where a file beside the weights has them. */
  readonly labels?: readonly string[];
  /** Fields of the config that neither the file nor the caller told, see `inferConfig`. */
  readonly assumed: readonly string[];
  readonly metadata: ReadonlyMap<string, string>;
  /** The file's parameters by canonical path, before any adaptation. */
  readonly state: StateDict;
  /** All tensors under the names that the file has for them. */
  readonly tensors: StateDict;
  /** Names in the file that mean nothing to the backbone or its classifier. */
  readonly unexpected: readonly string[];
  /** What lies beside the state in the file and was not read: optimizer state, arguments. */
  readonly skipped: readonly string[];
  /** Canonical paths of parameters with NaN or infinite values; looked for when first asked. */
  readonly nonFinite: readonly string[];
}

/** Every parameter of a backbone and, if the config has classes, its classifier: core's `pvtClassifierSpec`. */
export const checkpointSpec = pvtClassifierSpec;

/**
 * Reads a checkpoint of the official code, timm, Hugging Face or the mm tools from bytes: safetensors, or what
 * `torch.save` writes. The content tells, not the file's name. Float32 values are views of `bytes`.
 *
 * @throws CheckpointError where the file is broken or no checkpoint, holds another model, or does not tell its config; ConfigError for an impossible config
 * @example
 * const { config, source, preprocessing } = readCheckpoint(await readFile('pvt_v2_b0.pth'));
 * const backbone = createPvt(config, source);
 */
export function readCheckpoint(bytes: Uint8Array | ArrayBuffer, options: ReadOptions = {}): Checkpoint {
  const file = fromBytes('readCheckpoint', bytes);
  return checkpointOf([readAtOnce(file, readTensors(file))], options);
}

/** A tensor that is read when it is asked for, into the caller's array if it has to be copied. */
interface LazyTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
  readInto(target?: Float32Array): Float32Array;
}

/** A file that was read, and its tensors by the names that it has for them. */
export interface TensorsOfFile extends TensorFile {
  readonly state: StateDict;
}

/**
 * Reads a file as far as its values will be needed: of a file that can be read at once, parameters are read when they are
 * asked for; of another, the bytes are read here and kept.
 */
export function* readTensors(file: ReadableFile): Reading<TensorsOfFile> {
  const found = yield* readTensorFile(file.size);
  const kept = new Map<Storage, Uint8Array>();
  const { readNow } = file;
  const now: SynchronousFile | undefined =
    readNow === undefined
      ? undefined
      : {
          name: file.name,
          size: file.size,
          read: (begin, end) => file.read(begin, end),
          readNow: (...range) => readNow.call(file, ...range),
        };
  for (const { storage } of found.tensors.values()) {
    if ((now === undefined || storage.dear) && !kept.has(storage)) kept.set(storage, yield* storage.read());
  }
  const lazily = (tensor: StoredTensor): LazyTensor => {
    const readInto = (target?: Float32Array) =>
      toFloat32(
        entryOf(
          tensor,
          kept.get(tensor.storage) ??
            readAtOnce(
              now!,
              tensor.storage.read(),
              target && new Uint8Array(target.buffer, target.byteOffset, target.byteLength),
            ),
        ),
      );
    return {
      shape: tensor.shape,
      readInto,
      get values() {
        return readInto();
      },
    };
  };
  return { ...found, state: new Map(Array.from(found.tensors, ([name, tensor]) => [name, lazily(tensor)])) };
}

/** What the files beside the weights tell. */
export interface Companions {
  readonly config?: PvtConfigInput;
  readonly preprocessing?: Preprocessing;
  readonly labels?: readonly string[];
}

/** One checkpoint of what one or more files hold. */
export function checkpointOf(
  files: readonly TensorsOfFile[],
  options: ReadOptions,
  companions: Companions = {},
): Checkpoint {
  const tensors = new Map(files.flatMap(({ state }) => [...state]));
  const canonical = toCanonical(tensors, options.naming);
  const { naming, unexpected } = canonical;
  const given = options.config ?? companions.config;
  const {
    config: found,
    model,
    assumed,
  } = given === undefined ? inferConfig(canonical.state, canonical) : completeConfig(canonical, given);
  const { classes = found.classes, channels = found.channels, seed = 0 } = options;

  const state =
    classes === 0
      ? new Map([...canonical.state].filter(([path]) => !path.startsWith('head.')))
      : canonical.state;
  let source = finiteSource(state);
  if (classes !== found.classes) source = withNewClassifier(source, seed);
  if (channels !== found.channels) source = withInputChannels(source);
  const published: PreprocessingByNaming = model === undefined ? {} : getModel(model).preprocessing;
  const metadata = new Map(files.flatMap((file) => [...file.metadata]));
  const told = toldByHeader(metadata);
  const preprocessing =
    companions.preprocessing ?? told.preprocessing ?? published[naming === 'canonical' ? 'official' : naming];
  // Without a classifier they may be those of another head, which the folder's config names as well.
  const labels = classes === found.classes || classes === 0 ? (companions.labels ?? told.labels) : undefined;
  let nonFinite: readonly string[] | undefined;
  return {
    format: files[0]!.format,
    source,
    config: pvtConfig<PvtConfigInput>({ ...found, classes, channels }),
    naming,
    ...(model !== undefined && { model }),
    ...(preprocessing !== undefined && { preprocessing }),
    ...(labels !== undefined && { labels }),
    assumed,
    metadata,
    state,
    tensors,
    unexpected,
    skipped: files.flatMap(({ skipped }) => skipped),
    get nonFinite() {
      return (nonFinite ??= Array.from(state, ([path, { values }]) =>
        isFinite(values) ? [] : [path],
      ).flat());
    },
  };
}

/** Class names and recipe that our own training writes into a file's header, as JSON; under these names others may write what they like. */
function toldByHeader(metadata: ReadonlyMap<string, string>): Pick<Companions, 'labels' | 'preprocessing'> {
  const read = (key: string): unknown => {
    try {
      return JSON.parse(metadata.get(key) ?? 'null');
    } catch {
      return null;
    }
  };
  const [labels, preprocessing] = [read('labels'), read('preprocessing')];
  return {
    ...(Array.isArray(labels) &&
      labels.every((name) => typeof name === 'string') && { labels: labels as string[] }),
    ...(isPreprocessing(preprocessing) && { preprocessing }),
  };
}

const isSizes = (value: unknown, count: number): boolean =>
  Array.isArray(value) &&
  value.length === count &&
  value.every((one) => typeof one === 'number' && Number.isFinite(one));
const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function isPreprocessing(value: unknown): value is Preprocessing {
  if (!isRecord(value)) return false;
  const { resize, crop, rescale, normalize } = value;
  const to = isRecord(resize) && isRecord(resize['to']) ? resize['to'] : undefined;
  return (
    (resize === undefined ||
      (to !== undefined &&
        (typeof to['shortSide'] === 'number' || isSizes(to['size'], 2)) &&
        resamplings.includes((resize as { readonly resampling: never }).resampling))) &&
    (crop === undefined || isSizes(crop, 2)) &&
    (rescale === undefined || typeof rescale === 'number') &&
    (normalize === undefined ||
      (isRecord(normalize) && isSizes(normalize['mean'], 3) && isSizes(normalize['std'], 3)))
  );
}

/** A sum is finite just where all values are: a double holds 2^896 times the largest float32. Four sums, as each addition waits for the one before; destructured, they would be boxed. */
function isFinite(values: Float32Array): boolean {
  let a = 0,
    b = 0,
    c = 0,
    d = 0,
    i = 0;
  for (const end = values.length - 3; i < end; i += 4) {
    a += values[i]!;
    b += values[i + 1]!;
    c += values[i + 2]!;
    d += values[i + 3]!;
  }
  for (; i < values.length; i++) a += values[i]!;
  return Number.isFinite(a + b + c + d);
}

/** A model never starts from NaN, which would spread to everything that it computes. */
function finiteSource(state: StateDict): ParamSource {
  const source = fromStateDict(state);
  const checked = (path: string, values: Float32Array): Float32Array => {
    if (isFinite(values)) return values;
    throw new CheckpointError(
      'not-finite',
      `readCheckpoint: expected finite values in ${path}, got NaN or infinity; ` +
        'the training that wrote it diverged, take an earlier checkpoint.',
    );
  };
  return {
    shape: source.shape,
    values: (path, leaf) => checked(path, source.values(path, leaf)),
    readInto(path, leaf, target) {
      const tensor = state.get(path);
      const isLazy = tensor !== undefined && 'readInto' in tensor;
      return checked(path, isLazy ? (tensor as LazyTensor).readInto(target) : source.values(path, leaf));
    },
  };
}

/** The caller's config, with what it leaves open from the checkpoint; a variant's name leaves classes, channels and image size open. */
function completeConfig(canonical: CanonicalState, given: ModelName | PvtConfigInput): InferredConfig {
  const facts = factsOf(canonical.state, canonical);
  const config = pvtConfig<PvtConfigInput>(
    (typeof given === 'string'
      ? { ...getModel(given).config, ...facts }
      : { ...facts, ...given }) as PvtConfigInput,
  );
  if (config.version !== canonical.version) {
    throw new CheckpointError(
      'version-mismatch',
      `readCheckpoint: expected a checkpoint of PVT ${config.version}, as the config says, got one of ${canonical.version}; leave the config out to read it off the checkpoint.`,
    );
  }
  const model = nameOf(config);
  return { config, assumed: [], ...(model !== undefined && { model }) };
}
