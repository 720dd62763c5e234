import {
  ConfigError,
  pvtConfig,
  resamplings,
  type PvtConfig,
  type PvtConfigInput,
  type PvtV2Config,
  type Preprocessing,
  imageNetNormalization,
} from '@pvt/core';
import { modelNameOf } from './infer.ts';
import { isJsonObject, type JsonObject } from './json.ts';
import { getModel, type ModelName } from './models.ts';
import { namings } from './names/naming.ts';

function fail(field: string, expected: string, got: unknown, remedy: string): never {
  const shown = got === undefined ? 'nothing' : JSON.stringify(got).slice(0, 80);
  throw new ConfigError(
    'timm-config',
    `config.json: expected ${expected} for ${field}, got ${shown}; ${remedy}.`,
  );
}

const objectAt = (json: JsonObject, field: string): JsonObject => {
  const value = json[field] ?? {};
  return isJsonObject(value) ? value : fail(field, 'an object', value, 'correct the file');
};

/** Arguments of timm's `PyramidVisionTransformerV2` and our fields. */
const modelArguments = {
  in_chans: 'channels',
  num_classes: 'classes',
  embed_dims: 'dims',
  depths: 'depths',
  num_heads: 'heads',
  mlp_ratios: 'mlpRatios',
  sr_ratios: 'reductions',
  qkv_bias: 'qkvBias',
  linear: 'linear',
  proj_drop_rate: 'dropout',
  attn_drop_rate: 'attentionDropout',
  drop_path_rate: 'dropPath',
} as const satisfies Record<string, keyof PvtV2Config>;

/** Arguments that change no parameter: any input size works, and the classifier pools by the mean. */
const ignored = ['img_size', 'global_pool', 'drop_rate', 'pretrained'];

/** timm's code sets its epsilons itself, whatever a config says. */
const { eps } = namings.timm;

/** What a timm `config.json` on the hub says. */
export interface TimmConfig {
  readonly config: PvtConfigInput;
  readonly preprocessing: Preprocessing;
  readonly labels?: readonly string[];
}

/**
 * A timm `config.json` (`architecture`, `model_args`, `pretrained_cfg`, labels), read as `_parse_model_cfg`
 * of timm's `models/_hub.py` reads it.
 *
 * @throws ConfigError `timm-config`, naming the field
 * @example
 * const json = JSON.parse(await readFile('config.json', 'utf8'));
 * const { config, preprocessing, labels } = fromTimmConfig(json);
 */
export function fromTimmConfig(json: unknown): TimmConfig {
  if (!isJsonObject(json)) return fail('its content', 'an object', json, 'give the parsed file');
  // Older files are the inner object alone.
  const cfg = isJsonObject(json['pretrained_cfg']) ? json['pretrained_cfg'] : json;
  const architecture = json['architecture'] ?? cfg['architecture'];
  if (typeof architecture !== 'string')
    return fail('architecture', "a variant's name such as pvt_v2_b0", architecture, 'correct the file');
  const preset = getModel(architecture.split('.')[0]! as ModelName);
  if (preset.config.version !== 'v2') fail('architecture', 'a PVT v2', architecture, 'timm has no other');

  const [channels = 3, height = 224, width = 224] = threeOf(cfg['input_size'], 'input_size') ?? [];
  const fields: Record<string, unknown> = {
    channels,
    ...preset.config,
    eps,
    ...classesField(json, cfg),
    ...modelFields(json),
    imageSize: [height, width],
  };
  for (const field of ['mlpRatios', 'heads', 'reductions']) {
    const dims = fields['dims'];
    if (typeof fields[field] === 'number' && Array.isArray(dims))
      fields[field] = dims.map(() => fields[field]);
  }
  // pvtConfig checks what the file says.
  const config = pvtConfig(fields as JsonObject as PvtConfigInput);
  const labels = labelsOf({ ...cfg, ...json }, config.classes);
  return {
    config,
    preprocessing: preprocessingOf(cfg, [height, width]),
    ...(labels !== undefined && { labels }),
  };
}

function classesField(json: JsonObject, cfg: JsonObject): JsonObject {
  const classes = json['num_classes'] ?? cfg['num_classes'];
  return classes === undefined ? {} : { classes };
}

/** Our fields for `model_args`. */
function modelFields(json: JsonObject): JsonObject {
  const fields: Record<string, unknown> = {};
  const known: Readonly<Record<string, string>> = modelArguments;
  for (const [name, value] of Object.entries(objectAt(json, 'model_args'))) {
    if (Object.hasOwn(known, name)) fields[known[name]!] = value;
    else if (!ignored.includes(name))
      fail(
        `model_args.${name}`,
        `one of ${Object.keys(known).join(', ')}`,
        value,
        'give the config yourself',
      );
  }
  return fields;
}

function threeOf(value: unknown, field: string): [number, number, number] | undefined {
  if (value === undefined || value === null) return undefined;
  const isTriple =
    Array.isArray(value) &&
    value.length === 3 &&
    value.every((entry) => typeof entry === 'number' && Number.isFinite(entry));
  return isTriple
    ? (value as [number, number, number])
    : fail(field, 'three numbers', value, 'correct the file');
}

/** `transforms_imagenet_eval` of timm's `data/transforms_factory.py`. */
function preprocessingOf(cfg: JsonObject, crop: readonly [height: number, width: number]): Preprocessing {
  const share = cfg['crop_pct'] ?? 0.875;
  if (typeof share !== 'number' || !(share > 0 && share <= 4))
    return fail('crop_pct', 'a positive share', share, 'the usual one is 0.9');
  const name = cfg['interpolation'] ?? 'bicubic';
  const resampling =
    resamplings.find((known) => known === name) ??
    fail('interpolation', resamplings.join(', '), name, 'write the preprocessing by hand');
  const mode = cfg['crop_mode'] ?? 'center';
  if (mode !== 'center' && mode !== 'squash')
    fail('crop_mode', 'center or squash', mode, 'write the preprocessing by hand');
  const [height, width] = crop.map((side) => Math.floor(side / share)) as [number, number];
  if (mode === 'center' && height !== width)
    fail(
      'input_size',
      'a square where crop_mode is center',
      cfg['input_size'],
      'write the preprocessing by hand',
    );
  const std = threeOf(cfg['std'], 'std') ?? imageNetNormalization.std;
  if (!std.every((value) => value > 0)) fail('std', 'three positive numbers', std, 'correct the file');
  return {
    resize: { to: mode === 'squash' ? { size: [height, width] } : { shortSide: height }, resampling },
    crop,
    rescale: 1 / 255,
    normalize: { mean: threeOf(cfg['mean'], 'mean') ?? imageNetNormalization.mean, std },
  };
}

/** Class names by index; synsets are replaced by the file's descriptions of them. */
function labelsOf(json: JsonObject, classes: number): string[] | undefined {
  const given = json['label_names'] ?? json['labels'];
  if (given === undefined || given === null) return undefined;
  const names =
    Array.isArray(given) || isJsonObject(given)
      ? (given as JsonObject)
      : fail('label_names', 'a list of class names', given, 'correct the file');
  const count = Object.keys(names).length;
  if (count !== classes) fail('label_names', `${classes} class names`, count, 'name every class once');
  const descriptions = objectAt(json, 'label_descriptions');
  return Array.from({ length: count }, (_, index) => {
    const label = Object.hasOwn(names, index) ? names[`${index}`] : undefined;
    if (typeof label !== 'string')
      return fail(`label_names[${index}]`, 'a class name', label, 'name every class once');
    const described = Object.hasOwn(descriptions, label) ? descriptions[label] : undefined;
    return typeof described === 'string' ? described : label;
  });
}

/**
 * The inverse of {@link fromTimmConfig}: the content of a `config.json` that
 * `timm.create_model('local-dir:FOLDER')` reads. A model that is no published variant becomes one with
 * `model_args`.
 *
 * @throws ConfigError for what timm cannot express: a v1, an activation other than GELU, other patches or
 *   epsilons, a preprocessing of other steps
 * @example
 * const { config, preprocessing, labels } = checkpoint;
 * const json = JSON.stringify(toTimmConfig(config, preprocessing, labels), null, 2);
 */
export function toTimmConfig(
  config: PvtConfig,
  preprocessing: Preprocessing,
  labels?: readonly string[],
): Record<string, unknown> {
  if (config.version !== 'v2')
    return fail(
      'version',
      'a PVT v2',
      config.version,
      'timm has no PVT v1: save it in the huggingFace layout',
    );
  checkFixedFields(config);
  if (labels !== undefined && labels.length !== config.classes)
    fail('label_names', `${config.classes} class names`, labels.length, 'give one per class');
  const variant = modelNameOf(config);
  const published = variant !== undefined && variant !== 'pvt_v2_nano';
  const architecture: ModelName = published ? variant : 'pvt_v2_b0';
  const model = modelArgumentsOf(config, architecture, published);
  return {
    architecture,
    num_classes: config.classes,
    num_features: config.dims.at(-1),
    global_pool: 'avg',
    ...(labels !== undefined && { label_names: labels }),
    ...(Object.keys(model).length > 0 && { model_args: model }),
    pretrained_cfg: {
      custom_load: false,
      ...inputOf(preprocessing, config.channels),
      fixed_input_size: false,
      num_classes: config.classes,
      pool_size: null,
      first_conv: 'patch_embed.proj',
      classifier: 'head',
    },
  };
}

/** Refuses what timm's code has built in, with another value. */
function checkFixedFields(config: PvtV2Config): void {
  const fixed = {
    patchSizes: config.dims.map((_, stage) => (stage === 0 ? 7 : 3)),
    strides: config.dims.map((_, stage) => (stage === 0 ? 4 : 2)),
    activation: 'gelu',
    eps,
  } as const;
  for (const [field, value] of Object.entries(fixed)) {
    const got = config[field as keyof typeof fixed];
    if (JSON.stringify(got) === JSON.stringify(value)) continue;
    const expected = `${JSON.stringify(value)}, which timm's code has built in,`;
    const remedy =
      field === 'eps'
        ? "take timm's with epsilon: 'layout', which moves logits by about 1e-5"
        : 'save it in the huggingFace layout';
    fail(field, expected, got, remedy);
  }
}

/** Arguments by which timm tells one variant from another. */
const shapingArguments = ['embed_dims', 'depths', 'num_heads', 'mlp_ratios', 'sr_ratios', 'linear'];

/** `model_args`: a published variant is its name and what differs from it; `_li` ignores its sr_ratios. */
function modelArgumentsOf(config: PvtV2Config, architecture: ModelName, published: boolean): JsonObject {
  const usual: PvtConfig = pvtConfig<PvtConfigInput>({
    ...getModel(architecture).config,
    classes: config.classes,
  });
  const differs = (field: keyof PvtV2Config) =>
    JSON.stringify(config[field]) !== JSON.stringify(usual[field as keyof PvtConfig]);
  return Object.fromEntries(
    Object.entries(modelArguments)
      .filter(([name, field]) => (shapingArguments.includes(name) ? !published : differs(field)))
      .map(([name, field]) => [name, config[field]]),
  );
}

function inputOf(
  { resize, crop, rescale, normalize }: Preprocessing,
  channels: number,
): Record<string, unknown> {
  const steps = 'resize, crop, rescale by 1/255 and normalize';
  if (resize === undefined || crop === undefined || normalize === undefined || rescale !== 1 / 255)
    return fail(
      'preprocessing',
      steps,
      { resize, crop, rescale },
      'timm has no other steps; give a preprocessing that has these',
    );
  const { to, resampling } = resize;
  const sides = 'shortSide' in to ? [to.shortSide, to.shortSide] : to.size;
  if ('shortSide' in to && crop[0] !== crop[1])
    fail(
      'preprocessing.crop',
      'a square after a resize of the short side',
      crop,
      'give a preprocessing that timm has',
    );
  // timm rounds crop / share down: of the shares that lead back to the side, the one with the fewest digits.
  const shares = Array.from(
    { length: 12 },
    (_, digits) => Math.floor((crop[0] / sides[0]!) * 10 ** digits) / 10 ** digits,
  );
  const exact = [...shares, crop[0] / sides[0]!].find((share) =>
    crop.every((side, axis) => Math.floor(side / share) === sides[axis]),
  );
  if (exact === undefined)
    return fail(
      'preprocessing',
      'one ratio of crop to resize for both axes',
      { to, crop },
      'give a preprocessing that timm has',
    );
  return {
    input_size: [channels, ...crop],
    interpolation: resampling,
    crop_pct: exact,
    crop_mode: 'shortSide' in to ? 'center' : 'squash',
    mean: normalize.mean,
    std: normalize.std,
  };
}
