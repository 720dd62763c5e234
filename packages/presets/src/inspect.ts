import { CheckpointError, ConfigError, PvtError, sizeOf, type PvtConfig } from '@pvt/core';
import { checkCompatibility, describeMismatch } from './compatibility.ts';
import { readParts } from './folder.ts';
import { dtypes, type Dtype } from './formats/dtypes.ts';
import type { ReadableFile } from './formats/readableFile.ts';
import type { Format } from './formats/tensorFile.ts';
import { checkpointOf, checkpointSpec, type Checkpoint } from './load.ts';
import type { ModelName } from './models.ts';
import { detectNaming, type Naming, type Version } from './names/naming.ts';
import { firstOf } from './text.ts';

/** Something that is wrong with a file, or worth knowing about it. */
export interface Finding {
  /** Code of the error that reading the file throws, or which problem of a `FitReport` this is. */
  readonly code: string;
  readonly message: string;
}

export interface InspectedTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** What a checkpoint holds, as far as it could be read. */
export interface Inspection {
  /** The file's name, or all files' names. */
  readonly name: string;
  /** Bytes of all files. */
  readonly size: number;
  readonly format?: Format;
  readonly naming?: Naming;
  readonly version?: Version;
  readonly model?: ModelName;
  readonly config?: PvtConfig;
  /** Fields of the config that the file does not show. */
  readonly assumed: readonly string[];
  readonly tensors: readonly InspectedTensor[];
  readonly metadata: ReadonlyMap<string, string>;
  /** What the file holds beside the state: optimizer state, arguments. */
  readonly skipped: readonly string[];
  readonly findings: readonly Finding[];
}

/**
 * Looks into a checkpoint, one file or a folder's files by name. What is wrong with it becomes a finding
 * instead of an error.
 *
 * @throws SourceError if a file cannot be read
 * @example
 * console.log(renderInspection(await inspect(fromBytes('pvt_v2_b0.pth', bytes))));
 */
export async function inspect(
  files: ReadonlyMap<string, ReadableFile> | ReadableFile,
  signal?: AbortSignal,
): Promise<Inspection> {
  const all = 'read' in files ? [files] : [...files.values()];
  const blank = {
    name: all.map(({ name }) => name).join(', '),
    size: all.reduce((sum, { size }) => sum + size, 0),
    assumed: [],
    tensors: [],
    metadata: new Map<string, string>(),
    skipped: [],
  };
  try {
    return { ...blank, ...inspectParts(await readParts(files, signal)) };
  } catch (error) {
    if (!(error instanceof CheckpointError || error instanceof ConfigError)) throw error;
    return { ...blank, findings: [findingOf(error)] };
  }
}

const findingOf = ({ code, message }: PvtError): Finding => ({ code, message });

function inspectParts({ parts, companions }: Awaited<ReturnType<typeof readParts>>) {
  const findings: Finding[] = [];
  /** Runs one step; an error of ours becomes a finding. */
  const attempt = <T>(step: () => T): T | undefined => {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof PvtError)) throw error;
      findings.push(findingOf(error));
      return undefined;
    }
  };
  const tensors = parts.flatMap((part) =>
    Array.from(part.tensors, ([name, { dtype, shape }]) => ({ name, dtype, shape })),
  );
  const detected = attempt(() => detectNaming(tensors.map(({ name }) => name)));
  const checkpoint = detected && attempt(() => checkpointOf(parts, {}, companions));
  if (checkpoint !== undefined) attempt(() => findings.push(...misfits(checkpoint)));
  const { config, model, assumed = [] } = checkpoint ?? {};
  return {
    format: parts[0]!.format,
    ...detected,
    ...(model !== undefined && { model }),
    ...(config !== undefined && { config }),
    assumed,
    tensors,
    metadata: new Map(parts.flatMap(({ metadata }) => [...metadata])),
    skipped: parts.flatMap(({ skipped }) => skipped),
    findings,
  };
}

function misfits(checkpoint: Checkpoint): Finding[] {
  const report = checkCompatibility(checkpointSpec(checkpoint.config), checkpoint);
  const finding = (code: string, items: readonly string[], what: string): Finding[] =>
    items.length === 0 ? [] : [{ code, message: `${items.length} ${what}: ${firstOf(items, 4, 300)}` }];
  return [
    ...finding('missing', report.missing, 'missing'),
    ...finding('unexpected', report.unexpected, 'that belong neither to the backbone nor to its classifier'),
    ...finding('mismatched', report.mismatched.map(describeMismatch), 'of another shape'),
    ...finding('not-finite', report.nonFinite, 'with NaN or infinite values'),
  ];
}

/** An inspection as a few lines of text; with `tensors`, one more for each tensor. */
export function renderInspection(
  inspection: Inspection,
  { tensors: listTensors = false }: { readonly tensors?: boolean } = {},
): string {
  const { name, size, format, naming, version, model, config } = inspection;
  const { assumed, tensors, metadata, skipped, findings } = inspection;
  const entries = [...metadata].map(([key, value]) => `${key} = ${value.slice(0, 60)}`);
  const rows: (readonly [what: string, text: string | undefined])[] = [
    ['file', `${name}, ${size} bytes`],
    ['format', format],
    ['names', naming && `${naming}, PVT ${version}`],
    ['model', config && describeModel(config, model)],
    ['assumed', assumed.join(', ')],
    ['tensors', describeTensors(tensors)],
    ['metadata', firstOf(entries, 6)],
    ['skipped', firstOf(skipped, 6)],
    ...findings.map(({ code, message }) => ['wrong', `${code}: ${message}`] as const),
    ...(listTensors ? tensors : []).map(
      (tensor) => ['', `${tensor.name} ${tensor.dtype} [${tensor.shape.join(', ')}]`] as const,
    ),
  ];
  // A file's texts may hold anything; control characters would reach the terminal.
  return rows
    .flatMap(([what, text]) => (text ? [`${what.padEnd(10)}${text.replace(/\p{Cc}/gu, '\ufffd')}`] : []))
    .join('\n');
}

function describeModel({ dims, depths, classes }: PvtConfig, model: ModelName | undefined): string {
  const classifier = classes === 0 ? 'no classifier' : `${classes} classes`;
  const stages = `widths ${dims.join(', ')}; depths ${depths.join(', ')}`;
  return `${model ?? 'no published variant'}: ${stages}; ${classifier}`;
}

function describeTensors(tensors: readonly InspectedTensor[]): string | undefined {
  if (tensors.length === 0) return undefined;
  const byDtype = new Map<Dtype, number>();
  let values = 0;
  let bytes = 0;
  for (const { dtype, shape } of tensors) {
    byDtype.set(dtype, (byDtype.get(dtype) ?? 0) + 1);
    values += sizeOf(shape);
    bytes += sizeOf(shape) * dtypes[dtype].size;
  }
  const counts = Array.from(byDtype, ([dtype, count]) => `${count} ${dtype}`).join(', ');
  return `${tensors.length} (${counts}), ${values} values, ${bytes} bytes`;
}
