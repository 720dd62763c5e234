import { ConfigError, ShapeError } from './errors.ts';
import type { Size } from './vision.ts';

/** `gelu` is the exact (erf) form that every published PVT uses; `gelu_tanh` its common approximation. */
const activations = ['gelu', 'gelu_tanh', 'relu', 'silu'] as const;
export type Activation = (typeof activations)[number];

/** LayerNorm's epsilons, in which implementations of the same model differ (docs/decisions/numerics.md). */
export interface NormEpsilon {
  /** Norms in a block, and the norm after a stage. */
  readonly block: number;
  /** Norm after each patch embedding. */
  readonly patchEmbed: number;
  /** Norm of the reduced map that keys and values are made from. */
  readonly reduction: number;
}

/** Fields that all versions share. Arrays have one entry per stage. */
interface PvtConfigBase {
  /** Channels of the input image. */
  readonly channels: number;
  /** Token width of each stage. */
  readonly dims: readonly number[];
  /** Blocks per stage. */
  readonly depths: readonly number[];
  /** Attention heads per stage; each must divide the stage's width. */
  readonly heads: readonly number[];
  /** Width of the MLP's hidden layer as a multiple of the stage's width. */
  readonly mlpRatios: readonly number[];
  /** Factor by which height and width shrink before keys and values are made; 1 is no reduction. */
  readonly reductions: readonly number[];
  /** Kernel sides of the patch embeddings, pixels of the stage's input. */
  readonly patchSizes: readonly number[];
  /** Strides of the patch embeddings, pixels of the stage's input. */
  readonly strides: readonly number[];
  readonly activation: Activation;
  /** Bias on the query, key and value projections. */
  readonly qkvBias: boolean;
  readonly eps: NormEpsilon;
  /** Dropout rate on tokens and projections, while training. */
  readonly dropout: number;
  /** Dropout rate on attention probabilities, while training. */
  readonly attentionDropout: number;
  /** Drop-path rate of the last block, while training; earlier blocks get a linear share. */
  readonly dropPath: number;
  /** Standard deviation of the initial linear weights and embeddings. */
  readonly initRange: number;
  /** Classes of the classifier; 0 for none. */
  readonly classes: number;
}

/** Pyramid Vision Transformer (Wang et al., ICCV 2021, arXiv:2102.12122). */
export interface PvtV1Config extends PvtConfigBase {
  readonly version: 'v1';
  /** Size [height, width] that the stored position embeddings were made for; other sizes are interpolated. */
  readonly imageSize: Size;
  /**
   * Whether the last stage has a class token and a norm after it, as the classifier needs them. Without, the
   * backbone is that of the published detection and segmentation code.
   */
  readonly classToken: boolean;
}

/** PVT v2 (Wang et al., CVMJ 2022, arXiv:2106.13797). */
export interface PvtV2Config extends PvtConfigBase {
  readonly version: 'v2';
  /** Size [height, width] that the model was trained at; any other works. */
  readonly imageSize: Size;
  /** Linear attention (`_li`): keys and values come from a map pooled to 7x7, in every stage. */
  readonly linear: boolean;
}

/**
 * The whole architecture of a model; `version` tells the two kinds apart. {@link pvtConfig} fills in and
 * checks one.
 */
export type PvtConfig = PvtV1Config | PvtV2Config;

/** A config as people write it: widths, depths, and whatever differs from the defaults. */
export type PvtConfigInput =
  | ({ readonly version: 'v1' } & Pick<PvtV1Config, 'dims' | 'depths'> & Partial<PvtV1Config>)
  | ({ readonly version: 'v2' } & Pick<PvtV2Config, 'dims' | 'depths'> & Partial<PvtV2Config>);

const defaults = {
  imageSize: [224, 224],
  channels: 3,
  heads: [1, 2, 5, 8],
  mlpRatios: [8, 8, 4, 4],
  reductions: [8, 4, 2, 1],
  activation: 'gelu',
  qkvBias: true,
  eps: { block: 1e-6, patchEmbed: 1e-5, reduction: 1e-5 },
  dropout: 0,
  attentionDropout: 0,
  dropPath: 0,
  initRange: 0.02,
  classes: 1000,
} as const;

/** Defaults of each version. */
const versionDefaults = {
  v1: { ...defaults, patchSizes: [4, 2, 2, 2], strides: [4, 2, 2, 2], classToken: true },
  v2: { ...defaults, patchSizes: [7, 3, 3, 3], strides: [4, 2, 2, 2], linear: false },
} as const;

/** More stages, blocks or channels than this are a mistake, not a model. */
const limit = 65_536;

/** A config with its defaults filled in, before its fields are checked. */
type Draft = Partial<Record<keyof PvtV1Config | keyof PvtV2Config, unknown>>;

function fail(field: string, expected: string, got: unknown, remedy: string): never {
  let shown = typeof got === 'number' ? String(got) : JSON.stringify(got);
  if (got === undefined) shown = 'nothing';
  throw new ConfigError(
    'config-invalid',
    `PvtConfig.${field}: expected ${expected}, got ${shown}; ${remedy}.`,
  );
}

const isCount = (value: unknown, from = 1): value is number =>
  Number.isSafeInteger(value) && (value as number) >= from && (value as number) <= limit;

/**
 * Fills in the published defaults and checks every field.
 *
 * @throws ConfigError naming the field, the expected and the actual value, and the remedy
 * @example
 * const config = pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2], classes: 10 });
 */
export function pvtConfig<C extends PvtConfigInput>(input: C): Extract<PvtConfig, { version: C['version'] }> {
  const draft = withDefaults(input);
  checkStageFields(draft);
  const config = draft as PvtConfig;
  checkWidths(config);
  checkInputFields(draft);
  checkNumbers(draft);
  checkFlags(draft);
  if (config.version === 'v1') gridSizes(config, config.imageSize); // the stored grids must exist
  return config as Extract<PvtConfig, { version: C['version'] }>;
}

function withDefaults(input: PvtConfigInput): Draft {
  const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
  const { version, dims, eps } = given;
  if (version !== 'v1' && version !== 'v2')
    fail('version', `'v1' or 'v2'`, version, 'set the version of the architecture');
  const known = versionDefaults[version];
  const fields = ['dims', 'depths', ...Object.keys(known)];
  for (const [field, value] of Object.entries(input)) {
    if (field !== 'version' && !fields.includes(field))
      fail(field, `one of the fields of a ${version} config`, value, `remove it or use ${fields.join(', ')}`);
  }
  if (!Array.isArray(dims) || dims.length === 0)
    fail('dims', 'one width per stage, such as [64, 128, 320, 512]', dims, 'give at least one stage');
  return { ...known, ...given, eps: { ...known.eps, ...(eps as object | undefined) } };
}

/** Fields with one entry per stage. */
function checkStageFields(draft: Draft): void {
  const stages = (draft.dims as readonly unknown[]).length;
  const isRatio = (value: unknown) => typeof value === 'number' && value > 0 && value <= limit;
  const counts = ['dims', 'depths', 'heads', 'reductions', 'patchSizes', 'strides'] as const;
  for (const field of [...counts, 'mlpRatios'] as const) {
    const values = draft[field];
    if (!Array.isArray(values) || values.length !== stages)
      fail(field, `${stages} entries, as many as dims has`, values, 'give one entry per stage');
    const [isValid, expected] =
      field === 'mlpRatios' ? [isRatio, 'a positive number'] : [isCount, 'a positive integer'];
    for (const [stage, value] of values.entries())
      if (!isValid(value)) fail(`${field}[${stage}]`, expected, value, 'correct this stage');
  }
}

function checkWidths({ dims, heads, mlpRatios }: PvtConfig): void {
  for (const [stage, width] of dims.entries()) {
    if (width % heads[stage]! !== 0) {
      const expected = `a divisor of dims[${stage}] = ${width}`;
      fail(`heads[${stage}]`, expected, heads[stage], 'choose widths that the heads share equally');
    }
    if (Math.trunc(width * mlpRatios[stage]!) < 1) {
      const expected = `at least one hidden unit over dims[${stage}] = ${width}`;
      fail(`mlpRatios[${stage}]`, expected, mlpRatios[stage], 'raise the ratio');
    }
  }
}

function checkInputFields({ imageSize, channels, classes }: Draft): void {
  if (!Array.isArray(imageSize) || imageSize.length !== 2 || !imageSize.every((side) => isCount(side))) {
    const expected = '[height, width] in pixels, two positive integers';
    fail('imageSize', expected, imageSize, 'write a square as [224, 224]');
  }
  if (!isCount(channels)) fail('channels', 'a positive integer', channels, 'use 3 for RGB');
  if (!isCount(classes, 0)) fail('classes', 'an integer of at least 0', classes, 'use 0 for no classifier');
}

function checkNumbers(draft: Draft): void {
  const { activation, eps, initRange } = draft;
  if (!activations.includes(activation as Activation)) {
    const expected = `one of ${activations.join(', ')}`;
    fail('activation', expected, activation, 'every published PVT uses gelu');
  }
  for (const field of ['dropout', 'attentionDropout', 'dropPath'] as const) {
    const rate = draft[field];
    if (typeof rate !== 'number' || !(rate >= 0 && rate < 1))
      fail(field, 'a rate in [0, 1)', rate, 'use 0 to switch it off');
  }
  for (const [site, value] of Object.entries(eps as object)) {
    if (!(site in defaults.eps)) fail(`eps.${site}`, 'block, patchEmbed or reduction', value, 'remove it');
    if (typeof value !== 'number' || !(value > 0 && value < 1))
      fail(`eps.${site}`, 'a small positive number', value, 'the usual values are 1e-6 and 1e-5');
  }
  if (typeof initRange !== 'number' || !(initRange > 0) || !Number.isFinite(initRange))
    fail('initRange', 'a positive number', initRange, 'the usual value is 0.02');
}

function checkFlags(draft: Draft): void {
  for (const field of ['qkvBias', draft.version === 'v1' ? 'classToken' : 'linear'] as const)
    if (typeof draft[field] !== 'boolean') fail(field, 'true or false', draft[field], 'write a boolean');
}

/** Zero rows and columns around a stage's input: v2's patches overlap, v1's do not. */
export const patchPadding = (config: PvtConfig, stage: number): number =>
  config.version === 'v2' ? Math.floor(config.patchSizes[stage]! / 2) : 0;

/** Side of the map that linear attention pools to (PVT v2, section 3.2). */
export const linearPoolSize = 7;

/**
 * The [height, width] of every stage's map for an input of this size.
 *
 * @throws ShapeError if the input is too small for the architecture
 * @example
 * gridSizes(config, [224, 224]); // [[56, 56], [28, 28], [14, 14], [7, 7]]
 */
export function gridSizes(config: PvtConfig, size: Size): Size[] {
  const grids: Size[] = [];
  let current = size;
  for (let stage = 0; stage < config.dims.length; stage++) {
    const patch = config.patchSizes[stage]!;
    const stride = config.strides[stage]!;
    const padding = patchPadding(config, stage);
    const sideOf = (side: number) => Math.floor((side + 2 * padding - patch) / stride) + 1;
    const [height, width] = [sideOf(current[0]), sideOf(current[1])];
    const least = config.version === 'v2' && config.linear ? 1 : config.reductions[stage]!;
    if (Math.min(height, width) < least) {
      throw new ShapeError(
        'input-too-small',
        `PVT ${config.version}: expected an input whose stage ${stage + 1} map is at least ` +
          `${least}x${least} ` +
          `(patch ${patch}, stride ${stride}, reduction ${least}), got ${size[0]}x${size[1]}, which gives ` +
          `${Math.max(0, height)}x${Math.max(0, width)}; use a larger image.`,
      );
    }
    current = [height, width];
    grids.push(current);
  }
  return grids;
}
