import {
  CheckpointError,
  resamplings,
  resizeMethods,
  type Normalization,
  type Preprocessing,
  type ResizeMethod,
} from '@pvt/core';
import { isJsonObject, type JsonObject } from './json.ts';

type Check<T> = (value: unknown) => value is T;

/** What a table of checks lets through. */
type Checked<Table> = { readonly [Field in keyof Table]?: Table[Field] extends Check<infer T> ? T : never };

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
const isPositive = (value: unknown): value is number => isNumber(value) && value > 0;
const isPixels = (value: unknown): value is number => isPositive(value) && Number.isSafeInteger(value);
const isNumbers = (value: unknown, count: number): boolean =>
  Array.isArray(value) && value.length === count && value.every(isNumber);

const isLabels = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((name) => typeof name === 'string');
const isNormalization = (value: unknown): value is Normalization =>
  isJsonObject(value) && isNumbers(value['mean'], 3) && isNumbers(value['std'], 3);

const isResizeMethod = (value: unknown): value is ResizeMethod =>
  resizeMethods.some((method) => method === value);

function isResize(value: unknown): boolean {
  if (!isJsonObject(value) || !isJsonObject(value['to'])) return false;
  const { shortSide, size } = value['to'];
  return (
    (isNumber(shortSide) || isNumbers(size, 2)) && resamplings.some((name) => name === value['resampling'])
  );
}

const isPreprocessing = (value: unknown): value is Preprocessing =>
  isJsonObject(value) &&
  (value['resize'] === undefined || isResize(value['resize'])) &&
  (value['crop'] === undefined || isNumbers(value['crop'], 2)) &&
  (value['rescale'] === undefined || isNumber(value['rescale'])) &&
  (value['normalize'] === undefined || isNormalization(value['normalize']));

/** Fields of `input` that bound its size. */
const sizeFields = { shortSide: isPixels, longSide: isPixels, multiple: isPixels };

/** The other fields of `input`; a new one is a line here. */
const inputFields = { normalize: isNormalization, resize: isResizeMethod };

/** How a dense model's input is made from an image of any size; in the file, `size` is not nested. */
export type InputMetadata = { readonly size: Checked<typeof sizeFields> } & Checked<typeof inputFields>;

/** What our own training writes into a checkpoint's header besides tensors. */
export interface HeaderMetadata {
  /** Class names by index. */
  readonly labels?: readonly string[];
  /** How a classifier's images are prepared. */
  readonly preprocessing?: Preprocessing;
  /** How a segmenter's or detector's input is made. */
  readonly input?: InputMetadata;
  /** Side of a RetinaNet's smallest anchor, in strides of its level. */
  readonly anchorScale?: number;
}

/** Of a header entry's parsed JSON, what it says; undefined if it is not what {@link writeHeader} writes. */
type Read<T> = (value: unknown) => T | undefined;

const checkedBy =
  <T>(check: Check<T>): Read<T> =>
  (value) =>
    check(value) ? value : undefined;

/**
 * An unknown field is refused, not skipped: it comes from a newer version and says how pixels are made, and
 * without it the model would be fed other pixels than it was trained on.
 */
function readInput(value: unknown): InputMetadata | undefined {
  if (!isJsonObject(value)) return undefined;
  const checks: Readonly<Record<string, Check<unknown>>> = { ...sizeFields, ...inputFields };
  const known = Object.entries(value).every(
    ([name, field]) => Object.hasOwn(checks, name) && checks[name]!(field),
  );
  const only = <T extends object>(table: T) =>
    Object.fromEntries(Object.entries(value).filter(([name]) => name in table)) as Checked<T>;
  // Files from before the field was written come from our training, which has always resized as Pillow does.
  return known ? { size: only(sizeFields), resize: 'pillow', ...only(inputFields) } : undefined;
}

/** Every entry: what an error calls it, and how it is read. */
const entries: {
  readonly [Key in keyof HeaderMetadata]-?: {
    readonly expected: string;
    readonly read: Read<NonNullable<HeaderMetadata[Key]>>;
  };
} = {
  labels: { expected: 'a list of class names', read: checkedBy(isLabels) },
  preprocessing: { expected: 'the steps of a preprocessing', read: checkedBy(isPreprocessing) },
  input: {
    expected: `an object of ${Object.keys({ ...sizeFields, ...inputFields }).join(', ')}`,
    read: readInput,
  },
  anchorScale: { expected: 'a positive number', read: checkedBy(isPositive) },
};

function parseEntry(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * What a checkpoint's header says of labels, preprocessing, input and anchors. Other entries are left alone;
 * one of these that is not what {@link writeHeader} writes is an error, whether its JSON is broken or says
 * something else.
 *
 * @throws CheckpointError `header-invalid`
 * @example
 * const { labels } = readHeader(parseSafetensors(bytes).metadata);
 */
export function readHeader(metadata: ReadonlyMap<string, string>): HeaderMetadata {
  const found = Object.entries(entries).flatMap(([key, { expected, read }]) => {
    const text = metadata.get(key);
    if (text === undefined) return [];
    const value = read(parseEntry(text));
    if (value === undefined)
      throw new CheckpointError(
        'header-invalid',
        `readHeader: expected ${expected}, as JSON, under ${key} in the file's header, ` +
          `got ${JSON.stringify(text.slice(0, 40))}; ` +
          'write the file again with writeHeader, or without this entry.',
      );
    return [[key, value] as const];
  });
  return Object.fromEntries(found);
}

/**
 * A header as the metadata of a safetensors file; the inverse of {@link readHeader}.
 *
 * @example
 * const file = writeSafetensors(entries, { format: 'pt', ...writeHeader({ labels: ['cat', 'dog'] }) });
 */
export function writeHeader(header: HeaderMetadata): Record<string, string> {
  const flat: JsonObject = {
    ...header,
    ...(header.input && { input: { ...header.input.size, ...header.input, size: undefined } }),
  };
  return Object.fromEntries(
    Object.entries(flat).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, JSON.stringify(value)]],
    ),
  );
}
