import {
  ConfigError,
  pvtConfig,
  resamplings,
  type Activation,
  type PvtConfig,
  type PvtConfigInput,
  type Preprocessing,
  imageNetNormalization,
} from '@pvt/core';
import { isJsonObject, type JsonObject } from './json.ts';
import { namings } from './names/naming.ts';

function fail(file: string, field: string, expected: string, got: unknown, remedy: string): never {
  const shown = got === undefined ? 'nothing' : JSON.stringify(got).slice(0, 80);
  throw new ConfigError(
    'hugging-face-config',
    `${file}: expected ${expected} for ${field}, got ${shown}; ${remedy}.`,
  );
}

/** Our fields and theirs of another name but the same meaning. */
const sharedFields = {
  channels: 'num_channels',
  dims: 'hidden_sizes',
  depths: 'depths',
  heads: 'num_attention_heads',
  mlpRatios: 'mlp_ratios',
  qkvBias: 'qkv_bias',
  dropout: 'hidden_dropout_prob',
  attentionDropout: 'attention_probs_dropout_prob',
  dropPath: 'drop_path_rate',
  initRange: 'initializer_range',
} as const satisfies { readonly [F in keyof PvtConfig]?: string };

/** Their names of our activations; of several, the first is written. */
const activationNames: readonly (readonly [theirs: string, ours: Activation])[] = [
  ['gelu', 'gelu'],
  ['gelu_pytorch_tanh', 'gelu_tanh'],
  ['gelu_new', 'gelu_tanh'],
  ['relu', 'relu'],
  ['silu', 'silu'],
  ['swish', 'silu'],
];

/**
 * Defaults of their two classes for what a config.json leaves out (`configuration_pvt.py`,
 * `configuration_pvt_v2.py`).
 */
const classDefaults = {
  v1: { dims: [64, 128, 320, 512], classes: 1000 },
  v2: { dims: [32, 64, 160, 256], classes: 2 },
} as const;

/**
 * In v1, transformers' `PvtPatchEmbeddings` takes its kernel from `strides` and its stride from
 * `patch_sizes`. The published configs have the same numbers in both.
 */
const patchFields = {
  v1: { patchSizes: 'strides', strides: 'patch_sizes' },
  v2: { patchSizes: 'patch_sizes', strides: 'strides' },
} as const;

/**
 * Class names from a transformers config.json, by index.
 *
 * @throws ConfigError if `id2label` does not name the classes 0, 1, 2, … once each
 */
export function labelsOf(json: unknown): string[] | undefined {
  const names = isJsonObject(json) ? json['id2label'] : undefined;
  if (names === undefined || names === null) return undefined;
  if (!isJsonObject(names))
    return fail('config.json', 'id2label', 'an object of class names by index', names, 'correct the file');
  return Object.keys(names).map((_, index) => {
    const label = Object.hasOwn(names, index) ? names[index] : undefined;
    return typeof label === 'string'
      ? label
      : fail('config.json', `id2label[${index}]`, 'a class name', label, 'name every class once, from 0 up');
  });
}

function classesOf(json: JsonObject, version: 'v1' | 'v2'): number {
  const architectures = json['architectures'];
  if (
    Array.isArray(architectures) &&
    architectures.length > 0 &&
    !architectures.some((name) => `${name}`.endsWith('ForImageClassification'))
  )
    return 0;
  const labels = labelsOf(json)?.length;
  const count = json['num_labels'];
  if (labels !== undefined && typeof count === 'number' && labels !== count)
    fail(
      'config.json',
      'num_labels',
      `${labels}, as many as id2label names`,
      count,
      'correct one of the two',
    );
  return (count as number | undefined) ?? labels ?? classDefaults[version].classes;
}

/**
 * A transformers `config.json` (`PvtConfig` or `PvtV2Config`) as our config. Their one epsilon goes to every
 * LayerNorm.
 *
 * @throws ConfigError `hugging-face-config`, naming the field
 * @example
 * const config = fromHuggingFaceConfig(JSON.parse(await readFile('config.json', 'utf8')));
 */
export function fromHuggingFaceConfig(json: unknown): PvtConfig {
  if (!isJsonObject(json))
    return fail('config.json', 'its content', 'an object', json, 'give the parsed file');
  const type = json['model_type'];
  if (type !== 'pvt' && type !== 'pvt_v2')
    fail('config.json', 'model_type', '"pvt" or "pvt_v2"', type, 'this is the config of another model');
  const version = type === 'pvt' ? 'v1' : 'v2';
  const { dims } = classDefaults[version];

  // Older v1 files call them sr_ratios.
  const reductions = json['sequence_reduction_ratios'] ?? json['sr_ratios'];
  const fields: Record<string, unknown> = {
    version,
    dims,
    depths: [2, 2, 2, 2],
    reductions,
    classes: classesOf(json, version),
  };
  for (const [ours, theirs] of Object.entries({ ...sharedFields, ...patchFields[version] })) {
    if (json[theirs] !== undefined && json[theirs] !== null) fields[ours] = json[theirs];
  }
  const widths = fields['dims'];
  const stages = json['num_encoder_blocks'];
  if (Array.isArray(widths) && typeof stages === 'number' && stages !== widths.length)
    fail(
      'config.json',
      'num_encoder_blocks',
      'as many stages as hidden_sizes has',
      stages,
      'correct one of the two',
    );

  const size = json['image_size'] ?? 224;
  const act = json['hidden_act'] ?? 'gelu';
  const [, activation] =
    activationNames.find(([theirs]) => theirs === act) ??
    fail(
      'config.json',
      'hidden_act',
      activationNames.map(([theirs]) => theirs).join(', '),
      act,
      'no published PVT uses another',
    );
  const eps = json['layer_norm_eps'] ?? namings.huggingFace.eps.block;
  // pvtConfig checks what the file says.
  return pvtConfig({
    ...fields,
    imageSize: Array.isArray(size) ? size : [size, size],
    activation,
    eps: { block: eps, patchEmbed: eps, reduction: eps },
    ...(version === 'v2' && { linear: json['linear_attention'] ?? false }),
  } as JsonObject as PvtConfigInput);
}

export interface ToHuggingFaceOptions {
  /** Class names by index. Default: `LABEL_0`, `LABEL_1`, …, as in transformers. */
  readonly labels?: readonly string[];
  /**
   * transformers' one epsilon, for a config whose LayerNorms have several: 1e-6 is what published conversions
   * use, and moves logits by about 1e-5. Default: the config's, if it has one only.
   */
  readonly layerNormEps?: number;
}

/**
 * The inverse of {@link fromHuggingFaceConfig}: the content of a `config.json`.
 *
 * @throws ConfigError for what transformers cannot express: a v1 without class token or with an input that is
 *   not square, epsilons that differ
 * @example
 * const json = JSON.stringify(toHuggingFaceConfig(config, { layerNormEps: 1e-6 }), null, 2);
 */
export function toHuggingFaceConfig(
  config: PvtConfig,
  { labels, layerNormEps }: ToHuggingFaceOptions = {},
): Record<string, unknown> {
  const { version, classes, eps } = config;
  if (config.version === 'v1' && !config.classToken)
    fail('config.json', 'classToken', 'true', false, 'transformers has no PVT v1 without a class token');
  const sites = new Set([eps.block, eps.patchEmbed, eps.reduction]);
  if (sites.size > 1 && layerNormEps === undefined)
    fail('config.json', 'eps', 'one epsilon for every LayerNorm', eps, 'choose one with layerNormEps');
  if (labels !== undefined && labels.length !== classes)
    fail('config.json', 'labels', `${classes} class names`, labels.length, 'give one per class');
  const name = version === 'v1' ? 'Pvt' : 'PvtV2';
  const [hiddenAct] = activationNames.find(([, ours]) => ours === config.activation)!;
  const names = labels ?? Array.from({ length: classes }, (_, index) => `LABEL_${index}`);
  return {
    architectures: [classes > 0 ? `${name}ForImageClassification` : `${name}Model`],
    model_type: version === 'v1' ? 'pvt' : 'pvt_v2',
    image_size: imageSizeOf(config),
    num_encoder_blocks: config.dims.length,
    ...Object.fromEntries(
      Object.entries({ ...sharedFields, ...patchFields[version] }).map(([ours, theirs]) => [
        theirs,
        config[ours as keyof PvtConfig],
      ]),
    ),
    [version === 'v1' ? 'sequence_reduction_ratios' : 'sr_ratios']: config.reductions,
    hidden_act: hiddenAct,
    layer_norm_eps: layerNormEps ?? eps.block,
    ...(config.version === 'v2' && { linear_attention: config.linear }),
    ...(classes > 0 && {
      id2label: Object.fromEntries(names.entries()),
      label2id: Object.fromEntries(names.map((label, index) => [label, index])),
    }),
    ...(version === 'v1' && { num_labels: classes }),
  };
}

/** transformers' v1 takes a single side. */
function imageSizeOf({ version, imageSize }: PvtConfig): number | readonly number[] {
  const [height, width] = imageSize;
  if (height === width) return height;
  if (version === 'v2') return imageSize;
  return fail('config.json', 'imageSize', 'a square', imageSize, 'transformers has no other PVT v1');
}

/** Processors with the steps of `PvtImageProcessor`; the first uploads of v2 used the second name. */
const stretching = [
  'PvtImageProcessor',
  'PvtV2ImageProcessor',
  'PvtImageProcessorFast',
  'PvtFeatureExtractor',
];

/** Processors that resize the short side and crop the centre before they rescale and normalise. */
const cropping = ['BitImageProcessor', 'BitImageProcessorFast'];

/** `BitImageProcessor`'s default mean and standard deviation (`OPENAI_CLIP_MEAN` and `OPENAI_CLIP_STD`). */
const clip = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} as const;

const preprocessorFile = 'preprocessor_config.json';

/**
 * A transformers `preprocessor_config.json` of `PvtImageProcessor` or `BitImageProcessor`; what it leaves out
 * has that class's default.
 *
 * @throws ConfigError `hugging-face-config`, naming the field
 * @example
 * const preprocessing = fromPreprocessorConfig({ size: { height: 224, width: 224 }, resample: 2 });
 */
export function fromPreprocessorConfig(json: unknown): Preprocessing {
  if (!isJsonObject(json))
    return fail(preprocessorFile, 'its content', 'an object', json, 'give the parsed file');
  const type = json['image_processor_type'] ?? json['feature_extractor_type'] ?? stretching[0];
  const crops = cropping.includes(type as string);
  if (!crops && !stretching.includes(type as string)) {
    const known = [...stretching, ...cropping].join(', ');
    fail(preprocessorFile, 'image_processor_type', known, type, 'write the preprocessing by hand');
  }
  const defaults = crops
    ? { resample: resamplings.indexOf('bicubic'), ...clip }
    : { resample: resamplings.indexOf('bilinear'), ...imageNetNormalization };
  const resampling = resamplingAt(json, defaults.resample);
  const rescale = json['rescale_factor'] ?? 1 / 255;
  if (typeof rescale !== 'number' || !Number.isFinite(rescale))
    fail(preprocessorFile, 'rescale_factor', 'a number', rescale, 'the usual one is 1/255');
  return {
    ...(flagAt(json, 'do_resize') && {
      resize: { to: crops ? croppedTarget(json) : { size: sidesAt(json, 'size') }, resampling },
    }),
    ...(crops && flagAt(json, 'do_center_crop') && { crop: sidesAt(json, 'crop_size') }),
    ...(flagAt(json, 'do_rescale') && { rescale }),
    ...(flagAt(json, 'do_normalize') && {
      normalize: {
        mean: channelsAt(json, 'image_mean', defaults.mean, 'number'),
        std: channelsAt(json, 'image_std', defaults.std, 'positive number'),
      },
    }),
  };
}

function flagAt(json: JsonObject, field: string): boolean {
  const value = json[field] ?? true;
  return typeof value === 'boolean'
    ? value
    : fail(preprocessorFile, field, 'true or false', value, 'correct the file');
}

const isSide = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;

function sidesAt(json: JsonObject, field: string): readonly [height: number, width: number] {
  const size = json[field] ?? 224;
  if (isSide(size)) return [size, size];
  if (isJsonObject(size) && isSide(size['height']) && isSide(size['width']))
    return [size['height'], size['width']];
  return fail(preprocessorFile, field, 'a number of pixels, or height and width', size, 'correct the file');
}

/** What an image is resized to before the crop. */
function croppedTarget(json: JsonObject): NonNullable<Preprocessing['resize']>['to'] {
  const size = json['size'] ?? { shortest_edge: 224 };
  if (isSide(size)) return { shortSide: size };
  return isJsonObject(size) && isSide(size['shortest_edge'])
    ? { shortSide: size['shortest_edge'] }
    : { size: sidesAt(json, 'size') };
}

/** `resample` has Pillow's numbers of its filters. */
function resamplingAt(json: JsonObject, fallback: number) {
  const resample = json['resample'] ?? fallback;
  const expected = `one of Pillow's numbers 0 to ${resamplings.length - 1}`;
  return (
    resamplings.find((_, number) => number === resample) ??
    fail(preprocessorFile, 'resample', expected, resample, 'bilinear is 2')
  );
}

function channelsAt(
  json: JsonObject,
  field: string,
  fallback: readonly number[],
  what: 'number' | 'positive number',
): readonly number[] {
  const value = json[field] ?? fallback;
  const list: unknown[] = Array.isArray(value) ? value : [value, value, value];
  const isValid = (entry: unknown): entry is number =>
    typeof entry === 'number' && Number.isFinite(entry) && (what === 'number' || entry > 0);
  return list.length > 0 && list.every(isValid)
    ? list
    : fail(preprocessorFile, field, `one ${what}, or one per channel`, value, 'correct the file');
}

/**
 * The inverse of {@link fromPreprocessorConfig}: a preprocessing that crops becomes a `BitImageProcessor`,
 * any other a `PvtImageProcessor`.
 *
 * @throws ConfigError for a preprocessing that resizes the short side and does not crop, which would leave
 *   images of any size
 * @example
 * const json = JSON.stringify(toPreprocessorConfig(checkpoint.preprocessing), null, 2);
 */
export function toPreprocessorConfig({
  resize,
  crop,
  rescale,
  normalize,
}: Preprocessing): Record<string, unknown> {
  if (resize !== undefined && 'shortSide' in resize.to && crop === undefined)
    fail(preprocessorFile, 'crop', 'a centre crop after a resize of the short side', crop, 'add one');
  const sides = ([height, width]: readonly [height: number, width: number]) => ({ height, width });
  return {
    image_processor_type: crop === undefined ? stretching[0] : cropping[0],
    do_resize: resize !== undefined,
    ...(resize !== undefined && {
      size: 'shortSide' in resize.to ? { shortest_edge: resize.to.shortSide } : sides(resize.to.size),
      resample: resamplings.indexOf(resize.resampling),
    }),
    ...(crop !== undefined && { do_center_crop: true, crop_size: sides(crop) }),
    do_rescale: rescale !== undefined,
    ...(rescale !== undefined && { rescale_factor: rescale }),
    do_normalize: normalize !== undefined,
    ...(normalize !== undefined && { image_mean: normalize.mean, image_std: normalize.std }),
  };
}
