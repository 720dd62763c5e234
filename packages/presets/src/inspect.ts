import { CheckpointError, ConfigError, PvtError, sizeOf, type PvtConfig } from '@pvt/core';
import { checkFit } from './fit.ts';
import { readParts } from './folder.ts';
import { dtypes, type Dtype } from './formats/dtypes.ts';
import type { ReadableFile } from './formats/readableFile.ts';
import type { Format } from './formats/tensorFile.ts';
import type { ModelName } from './models.ts';
import { detectNaming, type Naming, type Version } from './names/naming.ts';
import { checkpointSpec, checkpointOf, type Checkpoint } from './load.ts';

/** Something that is wrong with a file, or worth knowing of it. */
export interface Finding {
  /** The code of the error that reading the file throws, or what of a checkpoint does not fit its own config. */
  readonly code: string;
  readonly message: string;
}

/** What a checkpoint holds, as far as it could be told. */
export interface Inspection {
  /** The file's, or those of all files. */
  readonly name: string;
  /** Bytes of all files. */
  readonly size: number;
  readonly format?: Format;
  readonly naming?: Naming;
  readonly version?: Version;
  readonly model?: ModelName;
  readonly config?: PvtConfig;
  /** Fields of the config that nothing tells. */
  readonly assumed: readonly string[];
  readonly tensors: readonly {
    readonly name: string;
    readonly dtype: Dtype;
    readonly shape: readonly number[];
  }[];
  readonly metadata: ReadonlyMap<string, string>;
  /** What lies beside the state: optimizer state, arguments. */
  readonly skipped: readonly string[];
  readonly findings: readonly Finding[];
}

/**
 * Looks into a checkpoint, one file or the files of a folder by name, and tells what it is instead of throwing where it is broken.
 *
 * @throws SourceError where a file cannot be read
 * @example
 * console.log(renderInspection(await inspect(fromBytes('pvt_v2_b0.pth', bytes))));
 */
export async function inspect(
  files: ReadonlyMap<string, ReadableFile> | ReadableFile,
  signal?: AbortSignal,
): Promise<Inspection> {
  const findings: Finding[] = [];
  /** Runs one step; an error of ours becomes a finding. */
  const attempt = <T>(step: () => T): T | undefined => {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof PvtError)) throw error;
      findings.push({ code: error.code, message: error.message });
      return undefined;
    }
  };
  const all = 'read' in files ? [files] : [...files.values()];
  const blank = {
    name: all.map(({ name }) => name).join(', '),
    size: all.reduce((sum, { size }) => sum + size, 0),
    assumed: [],
    tensors: [],
    metadata: new Map<string, string>(),
    skipped: [],
    findings,
  };
  let read: Awaited<ReturnType<typeof readParts>>;
  try {
    read = await readParts(files, signal);
  } catch (error) {
    if (!(error instanceof CheckpointError || error instanceof ConfigError)) throw error;
    return { ...blank, findings: [{ code: error.code, message: error.message }] };
  }
  const { parts, companions } = read;
  const tensors = parts.flatMap((part) =>
    Array.from(part.tensors, ([name, { dtype, shape }]) => ({ name, dtype, shape })),
  );
  const known = attempt(() => detectNaming(tensors.map(({ name }) => name)));
  const checkpoint = known && attempt(() => checkpointOf(parts, {}, companions));
  if (checkpoint !== undefined) attempt(() => findings.push(...misfits(checkpoint)));
  const { config, model, assumed = [] } = checkpoint ?? {};
  return {
    ...blank,
    format: parts[0]!.format,
    ...known,
    ...(model !== undefined && { model }),
    ...(config !== undefined && { config }),
    assumed,
    tensors,
    metadata: new Map(parts.flatMap(({ metadata }) => [...metadata])),
    skipped: parts.flatMap(({ skipped }) => skipped),
  };
}

function misfits(checkpoint: Checkpoint): Finding[] {
  const { missing, unexpected, mismatched, nonFinite } = checkFit(
    checkpointSpec(checkpoint.config),
    checkpoint,
  );
  const finding = (code: string, items: readonly string[], what: string): Finding[] =>
    items.length === 0
      ? []
      : [
          {
            code,
            message: `${items.length} ${what}: ${items.slice(0, 4).join(', ').slice(0, 300)}${items.length > 4 ? ` and ${items.length - 4} more` : ''}`,
          },
        ];
  return [
    ...finding('missing', missing, 'missing'),
    ...finding('unexpected', unexpected, 'that mean nothing to the backbone or its classifier'),
    ...finding(
      'mismatched',
      mismatched.map(
        ({ path, expected, found }) =>
          `${path} expected [${expected.join(', ')}] but found [${found.join(', ')}]`,
      ),
      'of another shape',
    ),
    ...finding('not-finite', nonFinite, 'with NaN or infinite values'),
  ];
}

/** An inspection as a few lines of text; with `tensors`, one more for each of them. */
export function renderInspection(
  {
    name,
    size,
    format,
    naming,
    version,
    model,
    config,
    assumed,
    tensors,
    metadata,
    skipped,
    findings,
  }: Inspection,
  options: { readonly tensors?: boolean } = {},
): string {
  const byDtype = new Map<Dtype, number>();
  let values = 0;
  for (const { dtype, shape } of tensors) {
    byDtype.set(dtype, (byDtype.get(dtype) ?? 0) + 1);
    values += sizeOf(shape);
  }
  const dtypeText = Array.from(byDtype, ([dtype, count]) => `${count} ${dtype}`).join(', ');
  const bytes = tensors.reduce((sum, { dtype, shape }) => sum + sizeOf(shape) * dtypes[dtype].size, 0);
  const list = (items: readonly string[]) =>
    `${items.slice(0, 6).join(', ')}${items.length > 6 ? ` and ${items.length - 6} more` : ''}`;
  const rows: [what: string, text: string | undefined][] = [
    ['file', `${name}, ${size} bytes`],
    ['format', format],
    ['names', naming && `${naming}, PVT ${version}`],
    [
      'model',
      config &&
        `${model ?? 'no published variant'}: widths ${config.dims.join(', ')}; depths ${config.depths.join(', ')}; ${config.classes === 0 ? 'no classifier' : `${config.classes} classes`}`,
    ],
    ['assumed', assumed.length > 0 ? assumed.join(', ') : undefined],
    [
      'tensors',
      tensors.length > 0 ? `${tensors.length} (${dtypeText}), ${values} values, ${bytes} bytes` : undefined,
    ],
    [
      'metadata',
      metadata.size > 0
        ? list([...metadata].map(([key, value]) => `${key} = ${value.slice(0, 60)}`))
        : undefined,
    ],
    ['skipped', skipped.length > 0 ? list(skipped) : undefined],
    ...findings.map(({ code, message }): [string, string] => ['wrong', `${code}: ${message}`]),
    ...(options.tensors === true
      ? tensors.map((tensor): [string, string] => [
          '',
          `${tensor.name} ${tensor.dtype} [${tensor.shape.join(', ')}]`,
        ])
      : []),
  ];
  // What a file says may hold anything; control characters would reach the terminal.
  return rows
    .flatMap(([what, text]) =>
      text === undefined ? [] : [`${what.padEnd(10)}${text.replace(/\p{Cc}/gu, '\ufffd')}`],
    )
    .join('\n');
}
