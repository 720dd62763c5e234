import {
  ConfigError,
  pvtConfig,
  type Activation,
  type PvtConfig,
  type PvtConfigInput,
  type Preprocessing,
  type Resampling,
  imageNetNormalization,
} from '@pvt/core';

type JsonObject = Readonly<Record<string, unknown>>;

function fail(file: string, field: string, expected: string, got: unknown, remedy: string): never {
  const shown = got === undefined ? 'nothing' : JSON.stringify(got).slice(0, 80);
  throw new ConfigError(
    'hugging-face-config',
    `${file}: expected ${expected} for ${field}, got ${shown}; ${remedy}.`,
  );
}

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Our fields and theirs, where only the name differs. */
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

/** Their names of activations that we have; the first of each is written. */
const activationNames: readonly (readonly [theirs: string, ours: Activation])[] = [
  ['gelu', 'gelu'],
  ['gelu_pytorch_tanh', 'gelu_tanh'],
  ['gelu_new', 'gelu_tanh'],
  ['relu', 'relu'],
  ['silu', 'silu'],
  ['swish', 'silu'],
];

/** What the two classes have where a config.json says nothing (`configuration_pvt.py`, `configuration_pvt_v2.py`). */
const classDefaults = {
  v1: { dims: [64, 128, 320, 512], classes: 1000 },
  v2: { dims: [32, 64, 160, 256], classes: 2 },
} as const;

/**
 * transformers' `PvtPatchEmbeddings` takes its kernel from `strides` and its stride from `patch_sizes`, in v1 only. The
 * published configs have the same numbers in both.
 */
const patchFields = {
  v1: { patchSizes: 'strides', strides: 'patch_sizes' },
  v2: { patchSizes: 'patch_sizes', strides: 'strides' },
} as const;

/**
 * Class names out of a config.json, by index.
 *
 * @throws ConfigError where `id2label` does not name the classes 0, 1, 2, … once each
 */
export function labelsOf(json: unknown): string[] | undefined {
  const names = isObject(json) ? json['id2label'] : undefined;
  if (names === undefined || names === null) return undefined;
  if (!isObject(names))
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
 * A transformers `config.json` (`PvtConfig` or `PvtV2Config`) as ours. Their one epsilon goes to every site.
 *
 * @throws ConfigError naming the field, what was expected, what came, and the remedy
 * @example
 * const config = fromHuggingFaceConfig(JSON.parse(await readFile('config.json', 'utf8')));
 */
export function fromHuggingFaceConfig(json: unknown): PvtConfig {
  if (!isObject(json)) return fail('config.json', 'its content', 'an object', json, 'give the parsed file');
  const type = json['model_type'];
  if (type !== 'pvt' && type !== 'pvt_v2')
    fail('config.json', 'model_type', '"pvt" or "pvt_v2"', type, 'this is the config of another model');
  const version = type === 'pvt' ? 'v1' : 'v2';
  const { dims } = classDefaults[version];

  // Older v1 files say sr_ratios.
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
  const eps = json['layer_norm_eps'] ?? 1e-6;
  return pvtConfig({
    ...fields,
    imageSize: Array.isArray(size) ? size : [size, size],
    activation,
    eps: { block: eps, patchEmbed: eps, reduction: eps },
    ...(version === 'v2' && { linear: json['linear_attention'] ?? false }),
  } as unknown as PvtConfigInput);
}

export interface ToHuggingFaceOptions {
  /** Class names by index; without them transformers numbers the classes. */
  readonly labels?: readonly string[];
  /** The one epsilon that transformers has, where the config's sites differ: 1e-6 is what published conversions use, and moves logits by about 1e-5. */
  readonly layerNormEps?: number;
}

/**
 * The inverse of {@link fromHuggingFaceConfig}: the content of a `config.json`.
 *
 * @throws ConfigError for what transformers cannot express: a v1 without class token, epsilons that differ by site
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
    fail('config.json', 'eps', 'one epsilon for all sites', eps, 'choose one with layerNormEps');
  if (labels !== undefined && labels.length !== classes)
    fail('config.json', 'labels', `${classes} class names`, labels.length, 'give one per class');
  const name = version === 'v1' ? 'Pvt' : 'PvtV2';
  const [hiddenAct] = activationNames.find(([, ours]) => ours === config.activation)!;
  const names = labels ?? Array.from({ length: classes }, (_, index) => `LABEL_${index}`);
  const [height, width] = config.imageSize;
  return {
    architectures: [classes > 0 ? `${name}ForImageClassification` : `${name}Model`],
    model_type: version === 'v1' ? 'pvt' : 'pvt_v2',
    // transformers' v1 takes a single side.
    image_size:
      height === width
        ? height
        : version === 'v2'
          ? [height, width]
          : fail(
              'config.json',
              'imageSize',
              'a square',
              config.imageSize,
              'transformers has no other PVT v1',
            ),
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

/** Pillow's numbers of its filters, as `resample` has them. */
const resamplings: readonly Resampling[] = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'];

/** Processors with the steps and the meaning of `PvtImageProcessor`; the second is what the first uploads of v2 called it. */
const stretching = [
  'PvtImageProcessor',
  'PvtV2ImageProcessor',
  'PvtImageProcessorFast',
  'PvtFeatureExtractor',
];

/** Processors that resize the short side and crop the centre before they rescale and normalise. */
const cropping = ['BitImageProcessor', 'BitImageProcessorFast'];

/** What `BitImageProcessor` normalises by where its file does not say (`OPENAI_CLIP_MEAN` and `OPENAI_CLIP_STD`). */
const clip = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} as const;

/**
 * A transformers `preprocessor_config.json` of `PvtImageProcessor` or `BitImageProcessor` as a recipe; what it leaves out
 * has that class's default.
 *
 * @throws ConfigError naming the field, what was expected, what came, and the remedy
 * @example
 * const recipe = fromPreprocessorConfig({ size: { height: 224, width: 224 }, resample: 2 });
 */
export function fromPreprocessorConfig(json: unknown): Preprocessing {
  const file = 'preprocessor_config.json';
  if (!isObject(json)) return fail(file, 'its content', 'an object', json, 'give the parsed file');
  const type = json['image_processor_type'] ?? json['feature_extractor_type'] ?? stretching[0];
  const crops = cropping.includes(type as string);
  if (!crops && !stretching.includes(type as string))
    fail(
      file,
      'image_processor_type',
      [...stretching, ...cropping].join(', '),
      type,
      'write the recipe by hand',
    );
  const normal = crops ? clip : imageNetNormalization;
  const flag = (field: string): boolean => {
    const value = json[field] ?? true;
    return typeof value === 'boolean' ? value : fail(file, field, 'true or false', value, 'correct the file');
  };
  const isSide = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;
  const sizeOf = (field: string): readonly [height: number, width: number] => {
    const size = json[field] ?? 224;
    if (isSide(size)) return [size, size];
    if (isObject(size) && isSide(size['height']) && isSide(size['width']))
      return [size['height'], size['width']];
    return fail(file, field, 'a number of pixels, or height and width', size, 'correct the file');
  };
  const targetOf = (): { shortSide: number } | { size: readonly [height: number, width: number] } => {
    if (!crops) return { size: sizeOf('size') };
    const size = json['size'] ?? { shortest_edge: 224 };
    if (isSide(size)) return { shortSide: size };
    return isObject(size) && isSide(size['shortest_edge'])
      ? { shortSide: size['shortest_edge'] }
      : { size: sizeOf('size') };
  };
  const threeOf = (field: string, fallback: readonly number[], positive: boolean): readonly number[] => {
    const value = json[field] ?? fallback;
    const list: unknown[] = Array.isArray(value) ? value : [value, value, value];
    const fits =
      list.length > 0 &&
      list.every((entry) => typeof entry === 'number' && Number.isFinite(entry) && (!positive || entry > 0));
    return fits
      ? (list as number[])
      : fail(
          file,
          field,
          `one ${positive ? 'positive ' : ''}number, or one per channel`,
          value,
          'correct the file',
        );
  };
  const rescale = json['rescale_factor'] ?? 1 / 255;
  if (typeof rescale !== 'number' || !Number.isFinite(rescale))
    fail(file, 'rescale_factor', 'a number', rescale, 'the usual one is 1/255');
  const resample = json['resample'] ?? (crops ? 3 : 2);
  const resampling =
    resamplings.find((_, number) => number === resample) ??
    fail(
      file,
      'resample',
      `one of Pillow's numbers 0 to ${resamplings.length - 1}`,
      resample,
      'bilinear is 2',
    );
  return {
    ...(flag('do_resize') && { resize: { to: targetOf(), resampling } }),
    ...(crops && flag('do_center_crop') && { crop: sizeOf('crop_size') }),
    ...(flag('do_rescale') && { rescale }),
    ...(flag('do_normalize') && {
      normalize: {
        mean: threeOf('image_mean', normal.mean, false),
        std: threeOf('image_std', normal.std, true),
      },
    }),
  };
}

/**
 * The inverse of {@link fromPreprocessorConfig}: a preprocessing that crops becomes a `BitImageProcessor`, any other a `PvtImageProcessor`.
 *
 * @throws ConfigError for a recipe that resizes the short side and does not crop, which would leave images of any size
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
    fail(
      'preprocessor_config.json',
      'crop',
      'a centre crop after a resize of the short side',
      crop,
      'give a recipe with one',
    );
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
