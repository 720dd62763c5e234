import { pvtConfig, type PvtConfig } from '@pvt/core';
import { describe, expect, it } from 'vitest';
import {
  fromHuggingFaceConfig,
  fromPreprocessorConfig,
  labelsOf,
  modelNameOf,
  toHuggingFaceConfig,
} from './index.ts';
import { huggingFace } from './preprocessing.ts';

const eps = { block: 1e-6, patchEmbed: 1e-6, reduction: 1e-6 };

/** Fields of the published pvt-tiny-224 config, with its older name of the reductions. */
const tiny = {
  architectures: ['PvtForImageClassification'],
  attention_probs_dropout_prob: 0.0,
  depths: [2, 2, 2, 2],
  drop_path_rate: 0.0,
  hidden_act: 'gelu',
  hidden_dropout_prob: 0.0,
  hidden_sizes: [64, 128, 320, 512],
  image_size: 224,
  initializer_range: 0.02,
  layer_norm_eps: 1e-6,
  mlp_ratios: [8, 8, 4, 4],
  model_type: 'pvt',
  num_attention_heads: [1, 2, 5, 8],
  num_channels: 3,
  num_encoder_blocks: 4,
  patch_sizes: [4, 2, 2, 2],
  qkv_bias: true,
  sr_ratios: [8, 4, 2, 1],
  strides: [4, 2, 2, 2],
  torch_dtype: 'float32',
};

/** The config.json of hf-internal-testing/tiny-random-PvtV2Backbone. */
const backbone = {
  ...tiny,
  architectures: ['PvtV2Backbone'],
  attention_probs_dropout_prob: 0.1,
  hidden_dropout_prob: 0.1,
  hidden_sizes: [16, 32, 64, 128],
  image_size: [64, 64],
  linear_attention: false,
  model_type: 'pvt_v2',
  num_attention_heads: [1, 2, 4, 8],
  out_features: ['stage1', 'stage2', 'stage3', 'stage4'],
  out_indices: [0, 1, 2, 3],
  patch_sizes: [7, 3, 3, 3],
};

describe('fromHuggingFaceConfig', () => {
  it('reads a v1 classifier', () => {
    const config = fromHuggingFaceConfig(tiny);
    expect(config).toEqual(
      pvtConfig({ version: 'v1', dims: [64, 128, 320, 512], depths: [2, 2, 2, 2], eps }),
    );
    expect(modelNameOf(config)).toBe('pvt_tiny');
  });

  it('reads a v2 backbone', () => {
    expect(fromHuggingFaceConfig(backbone)).toEqual(
      pvtConfig({
        version: 'v2',
        dims: [16, 32, 64, 128],
        depths: [2, 2, 2, 2],
        heads: [1, 2, 4, 8],
        imageSize: [64, 64],
        dropout: 0.1,
        attentionDropout: 0.1,
        classes: 0,
        eps,
      }),
    );
  });

  it('fills in what the two classes have', () => {
    expect(fromHuggingFaceConfig({ model_type: 'pvt' })).toEqual(fromHuggingFaceConfig(tiny));
    expect(modelNameOf(fromHuggingFaceConfig({ model_type: 'pvt_v2' }))).toBe('pvt_v2_b0');
    expect(fromHuggingFaceConfig({ model_type: 'pvt_v2' }).classes).toBe(2);
  });

  it('reads sequence_reduction_ratios, labels and linear attention', () => {
    expect(
      fromHuggingFaceConfig({ ...tiny, sr_ratios: undefined, sequence_reduction_ratios: [4, 2, 2, 1] })
        .reductions,
    ).toEqual([4, 2, 2, 1]);
    const labelled = { ...tiny, id2label: { 1: 'dog', 0: 'cat', 2: 'owl' } };
    expect([fromHuggingFaceConfig(labelled).classes, labelsOf(labelled), labelsOf(tiny)]).toEqual([
      3,
      ['cat', 'dog', 'owl'],
      undefined,
    ]);
    expect(fromHuggingFaceConfig({ model_type: 'pvt_v2', linear_attention: true })).toMatchObject({
      linear: true,
    });
  });

  // transformers' v1: Conv2d(kernel_size=stride, stride=patch_size).
  it('swaps kernels and strides where v1 does', () => {
    const config = fromHuggingFaceConfig({ ...tiny, patch_sizes: [2, 2, 2, 2], strides: [4, 2, 2, 2] });
    expect([config.patchSizes, config.strides]).toEqual([
      [4, 2, 2, 2],
      [2, 2, 2, 2],
    ]);
  });

  it.each([
    [[], /its content/],
    [{ model_type: 'vit' }, /model_type/],
    [{ ...tiny, hidden_act: 'selu' }, /hidden_act/],
    [{ ...tiny, num_encoder_blocks: 3 }, /num_encoder_blocks/],
    [{ ...tiny, id2label: { 0: 'a', 2: 'b' } }, /id2label\[1\]/],
    [{ ...tiny, id2label: ['a'] }, /id2label/],
    [{ ...tiny, id2label: { 0: 'a' }, num_labels: 2 }, /num_labels/],
    [{ ...tiny, depths: 'deep' }, /depths/],
    [{ ...tiny, image_size: '224' }, /imageSize/],
    [{ ...tiny, hidden_sizes: 7 }, /dims/],
    [{ ...tiny, layer_norm_eps: 'small' }, /eps/],
  ])('refuses %j', (json, message) => {
    expect(() => fromHuggingFaceConfig(json)).toThrow(message);
  });
});

describe('toHuggingFaceConfig', () => {
  const unusual = {
    channels: 5,
    dims: [8, 12],
    depths: [1, 2],
    heads: [2, 3],
    mlpRatios: [2, 3],
    reductions: [4, 1],
    qkvBias: false,
    activation: 'gelu_tanh',
    dropout: 0.1,
    attentionDropout: 0.2,
    dropPath: 0.3,
    initRange: 0.05,
    classes: 3,
    eps: { block: 1e-3, patchEmbed: 1e-3, reduction: 1e-3 },
  } as const;
  const configs: PvtConfig[] = [
    pvtConfig({ version: 'v1', ...unusual, patchSizes: [8, 3], strides: [4, 2], imageSize: [96, 96] }),
    pvtConfig({
      version: 'v2',
      ...unusual,
      patchSizes: [5, 3],
      strides: [4, 2],
      imageSize: [64, 96],
      linear: true,
    }),
    pvtConfig({ version: 'v2', ...unusual, patchSizes: [5, 3], strides: [4, 2], classes: 0 }),
  ];

  it.each(configs)('keeps every field of $version', (config) => {
    expect(fromHuggingFaceConfig(JSON.parse(JSON.stringify(toHuggingFaceConfig(config))))).toEqual(config);
  });

  it('writes the names that transformers has', () => {
    const { sr_ratios, torch_dtype: _, ...fields } = tiny;
    expect(toHuggingFaceConfig(fromHuggingFaceConfig(tiny))).toMatchObject({
      ...fields,
      sequence_reduction_ratios: sr_ratios,
      num_labels: 1000,
    });
  });

  it('writes labels', () => {
    expect(labelsOf(toHuggingFaceConfig(configs[0]!, { labels: ['a', 'b', 'c'] }))).toEqual(['a', 'b', 'c']);
  });

  it('does not choose one of several epsilons by itself', () => {
    const official = pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2] });
    expect(() => toHuggingFaceConfig(official)).toThrow(/layerNormEps/);
    expect(toHuggingFaceConfig(official, { layerNormEps: 1e-6 })['layer_norm_eps']).toBe(1e-6);
  });

  it.each([
    [
      pvtConfig({
        version: 'v1',
        dims: [8],
        depths: [1],
        heads: [1],
        mlpRatios: [1],
        reductions: [1],
        patchSizes: [4],
        strides: [4],
        classToken: false,
        eps,
      }),
      /class token/,
    ],
    [
      pvtConfig({
        version: 'v1',
        dims: [8],
        depths: [1],
        heads: [1],
        mlpRatios: [1],
        reductions: [1],
        patchSizes: [4],
        strides: [4],
        imageSize: [32, 64],
        eps,
      }),
      /square/,
    ],
  ])('says what transformers cannot have', (config, message) => {
    expect(() => toHuggingFaceConfig(config)).toThrow(message);
  });
});

describe('fromPreprocessorConfig', () => {
  it('reads the published file of pvt_v2_b0', () => {
    const json = {
      do_normalize: true,
      do_rescale: true,
      do_resize: true,
      image_mean: [0.485, 0.456, 0.406],
      image_processor_type: 'PvtImageProcessor',
      image_std: [0.229, 0.224, 0.225],
      resample: 2,
      rescale_factor: 0.00392156862745098,
      size: { height: 224, width: 224 },
    };
    expect(fromPreprocessorConfig(json)).toEqual(huggingFace);
    expect(fromPreprocessorConfig({})).toEqual(huggingFace);
  });

  it('leaves out the steps that are switched off', () => {
    expect(fromPreprocessorConfig({ do_resize: false, do_rescale: false, do_normalize: false })).toEqual({});
    expect(
      fromPreprocessorConfig({ size: 64, resample: 3, do_rescale: false, image_mean: 0.5, image_std: 0.25 }),
    ).toEqual({
      resize: { to: { size: [64, 64] }, resampling: 'bicubic' },
      normalize: { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
    });
  });

  it.each([
    [null, /its content/],
    [{ image_processor_type: 'ViTImageProcessor' }, /image_processor_type/],
    [{ size: { shortest_edge: 224 } }, /size/],
    [{ size: { height: 0, width: 3 } }, /size/],
    [{ resample: 6 }, /resample/],
    [{ resample: 'length' }, /resample/],
    [{ do_resize: 'yes' }, /do_resize/],
    [{ image_std: [1, 0, 1] }, /image_std/],
    [{ rescale_factor: 'x' }, /rescale_factor/],
  ])('refuses %j', (json, message) => {
    expect(() => fromPreprocessorConfig(json)).toThrow(message);
  });
});
