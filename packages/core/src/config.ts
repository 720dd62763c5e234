import { ConfigError, ShapeError } from './errors.ts';

/** `gelu` is the exact (erf) form that every published PVT uses; `gelu_tanh` its common approximation. */
export const activations = ['gelu', 'gelu_tanh', 'relu', 'silu'] as const;
export type Activation = (typeof activations)[number];

/** LayerNorm's epsilon at each of its sites: implementations of the same model differ here (docs/decisions/numerics.md). */
export interface NormEpsilon {
  /** Norms inside a block, and the norm after a stage. */
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
  readonly imageSize: readonly [height: number, width: number];
  /**
   * A class token in the last stage, and the norm after it, as the classifier has them. Off, the last stage sees the
   * map alone and nothing is normed after it, as the published detection and segmentation code runs the backbone.
   */
  readonly classToken: boolean;
}

/** PVT v2 (Wang et al., CVMJ 2022, arXiv:2106.13797). */
export interface PvtV2Config extends PvtConfigBase {
  readonly version: 'v2';
  /** Size [height, width] that the model was trained at; any other works. */
  readonly imageSize: readonly [height: number, width: number];
  /** Linear attention (`_li`): keys and values come from a map pooled to 7x7, in every stage. */
  readonly linear: boolean;
}

/** Everything that shapes a model, told apart by `version`. Use {@link pvtConfig} to fill in and check one. */
export type PvtConfig = PvtV1Config | PvtV2Config;

/** A config as people write it: the architecture's own fields, and whatever differs from the usual. */
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

/** What the two versions set differently where the caller says nothing. */
const versionDefaults = {
  v1: { ...defaults, patchSizes: [4, 2, 2, 2], strides: [4, 2, 2, 2], classToken: true },
  v2: { ...defaults, patchSizes: [7, 3, 3, 3], strides: [4, 2, 2, 2], linear: false },
} as const;

/** Stages, blocks and widths beyond this are mistakes, not models. */
const limit = 65_536;

function fail(field: string, expected: string, got: unknown, remedy: string): never {
  const shown = got === undefined ? 'nothing' : typeof got === 'number' ? String(got) : JSON.stringify(got);
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
 * @throws ConfigError naming the field, what was expected, what came, and the remedy
 * @example
 * const config = pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2], classes: 10 });
 */
export function pvtConfig<C extends PvtConfigInput>(input: C): Extract<PvtConfig, { version: C['version'] }> {
  const given: Record<string, unknown> = { ...(input as object) };
  const version = given['version'];
  if (version !== 'v1' && version !== 'v2')
    fail('version', `'v1' or 'v2'`, version, 'set the version of the architecture');
  const known = versionDefaults[version];
  for (const field of Object.keys(given)) {
    if (field !== 'version' && field !== 'dims' && field !== 'depths' && !(field in known)) {
      fail(
        field,
        `one of the fields of a ${version} config`,
        given[field],
        `remove it or use ${['dims', 'depths', ...Object.keys(known)].join(', ')}`,
      );
    }
    if (given[field] === undefined) delete given[field];
  }
  const dims = given['dims'];
  if (!Array.isArray(dims) || dims.length === 0)
    fail('dims', 'one width per stage, such as [64, 128, 320, 512]', dims, 'give at least one stage');
  const config: Record<string, unknown> = { ...known, ...given };
  config['eps'] = { ...known.eps, ...(given['eps'] as object | undefined) };

  const stages = dims.length;
  for (const field of ['dims', 'depths', 'heads', 'reductions', 'patchSizes', 'strides', 'mlpRatios']) {
    const values = config[field];
    if (!Array.isArray(values) || values.length !== stages) {
      fail(field, `${stages} entries, as many as dims has`, values, 'give one entry per stage');
    }
    for (const [stage, value] of values.entries()) {
      const fits =
        field === 'mlpRatios' ? typeof value === 'number' && value > 0 && value <= limit : isCount(value);
      if (!fits)
        fail(
          `${field}[${stage}]`,
          field === 'mlpRatios' ? 'a positive number' : 'a positive integer',
          value,
          'correct this stage',
        );
    }
  }
  const checked = config as unknown as PvtConfig;
  for (let stage = 0; stage < stages; stage++) {
    const width = checked.dims[stage]!;
    const heads = checked.heads[stage]!;
    if (width % heads !== 0)
      fail(
        `heads[${stage}]`,
        `a divisor of dims[${stage}] = ${width}`,
        heads,
        'choose widths that the heads share equally',
      );
    const hidden = width * checked.mlpRatios[stage]!;
    if (Math.trunc(hidden) < 1)
      fail(
        `mlpRatios[${stage}]`,
        `at least one hidden unit over dims[${stage}] = ${width}`,
        checked.mlpRatios[stage],
        'raise the ratio',
      );
  }

  const size = config['imageSize'];
  if (!Array.isArray(size) || size.length !== 2 || !size.every((side) => isCount(side))) {
    fail(
      'imageSize',
      '[height, width] in pixels, two positive integers',
      size,
      'write a square as [224, 224]',
    );
  }
  if (!isCount(config['channels']))
    fail('channels', 'a positive integer', config['channels'], 'use 3 for RGB');
  if (!isCount(config['classes'], 0))
    fail('classes', 'an integer of at least 0', config['classes'], 'use 0 for no classifier');
  if (!activations.includes(config['activation'] as Activation)) {
    fail(
      'activation',
      `one of ${activations.join(', ')}`,
      config['activation'],
      'every published PVT uses gelu',
    );
  }
  for (const field of ['dropout', 'attentionDropout', 'dropPath']) {
    const rate = config[field];
    if (typeof rate !== 'number' || !(rate >= 0 && rate < 1))
      fail(field, 'a rate in [0, 1)', rate, 'use 0 to switch it off');
  }
  for (const [site, eps] of Object.entries(checked.eps)) {
    if (!(site in known.eps)) fail(`eps.${site}`, 'block, patchEmbed or reduction', eps, 'remove it');
    if (typeof eps !== 'number' || !(eps > 0 && eps < 1))
      fail(`eps.${site}`, 'a small positive number', eps, 'the usual values are 1e-6 and 1e-5');
  }
  if (!(
    typeof config['initRange'] === 'number' &&
    config['initRange'] > 0 &&
    Number.isFinite(config['initRange'])
  )) {
    fail('initRange', 'a positive number', config['initRange'], 'the usual value is 0.02');
  }
  for (const field of ['qkvBias', version === 'v1' ? 'classToken' : 'linear']) {
    if (typeof config[field] !== 'boolean') fail(field, 'true or false', config[field], 'write a boolean');
  }
  if (version === 'v1') gridSizes(checked, size as [number, number]); // the stored grids must exist
  return checked as Extract<PvtConfig, { version: C['version'] }>;
}

/** Zero rows and columns around a stage's input: v2's patches overlap, v1's do not. */
export const patchPadding = (config: PvtConfig, stage: number): number =>
  config.version === 'v2' ? Math.floor(config.patchSizes[stage]! / 2) : 0;

/** Side of the map that linear attention pools to (PVT v2, section 3.2). */
export const linearPoolSize = 7;

/**
 * The [height, width] of every stage's map for an input of this size.
 *
 * @throws ShapeError where the input is too small for the architecture
 * @example
 * gridSizes(config, [224, 224]); // [[56, 56], [28, 28], [14, 14], [7, 7]]
 */
export function gridSizes(
  config: PvtConfig,
  size: readonly [height: number, width: number],
): [height: number, width: number][] {
  const grids: [number, number][] = [];
  let current: readonly [number, number] = size;
  for (let stage = 0; stage < config.dims.length; stage++) {
    const patch = config.patchSizes[stage]!;
    const stride = config.strides[stage]!;
    const padding = patchPadding(config, stage);
    const [height, width] = current.map((side) => Math.floor((side + 2 * padding - patch) / stride) + 1) as [
      number,
      number,
    ];
    const least = config.version === 'v2' && config.linear ? 1 : config.reductions[stage]!;
    if (Math.min(height, width) < least) {
      throw new ShapeError(
        'input-too-small',
        `PVT ${config.version}: expected an input whose stage ${stage + 1} map is at least ${least}x${least} ` +
          `(patch ${patch}, stride ${stride}, reduction ${least}), got ${size[0]}x${size[1]}, which gives ` +
          `${Math.max(0, height)}x${Math.max(0, width)}; use a larger image.`,
      );
    }
    grids.push((current = [height, width]) as [number, number]);
  }
  return grids;
}
