import { gridSizes, type PvtConfig } from '../config.ts';
import { countParams, sizeOf, type Spec } from '../params/spec.ts';
import type { Size } from '../vision.ts';
import { reductionOf, type attentionSpec } from './attention.ts';
import { classifierSpec } from './classifier.ts';
import { hiddenWidth, type mlpSpec } from './mlp.ts';
import { featuresOf } from './pvt.ts';
import { stageSpec } from './stage.ts';

export type LayerKind = 'convolution' | 'depthwise' | 'linear' | 'norm' | 'pool' | 'attention' | 'embedding';

/** Parameters, multiply-adds and activation size, at batch 1. */
export interface Totals {
  readonly params: number;
  /** Multiply-adds of convolutions, linear layers and the two attention products; nothing else is counted. */
  readonly macs: number;
  /** Bytes of the layers' outputs in float32. */
  readonly activationBytes: number;
}

/** Cost of one layer of a model, at batch 1. */
export interface LayerCost extends Totals {
  /** Canonical path of the layer, as its parameters are named. */
  readonly path: string;
  readonly kind: LayerKind;
  /** Zero-based; the classifier belongs to the last one. */
  readonly stage: number;
  /** Maps as [h, w, C], tokens as [N, C], an attention map as [heads, N, M]. */
  readonly input: readonly number[];
  readonly output: readonly number[];
}

/** Cost of a stage, at batch 1. */
export interface StageCost extends Totals {
  readonly stage: number;
  readonly stride: number;
  /** Height and width of the map. */
  readonly grid: Size;
  /** Tokens that attend, the class token included. */
  readonly tokens: number;
  /** Tokens that keys and values are made from. */
  readonly keyTokens: number;
  /** [heads, N, M] of one block's attention map. */
  readonly attentionMap: readonly [heads: number, tokens: number, keyTokens: number];
}

/** Cost of a model at an input size, at batch 1. */
export interface Cost extends Totals {
  readonly size: Size;
  readonly layers: readonly LayerCost[];
  readonly stages: readonly StageCost[];
}

/** Sizes that the layers of a stage share. */
interface StageShape {
  readonly stage: number;
  readonly grid: Size;
  readonly channels: number;
  readonly heads: number;
  readonly tokens: number;
  /** Size of the reduced map; undefined if nothing is reduced. */
  readonly keyGrid: Size | undefined;
  readonly keyTokens: number;
}

function shapeOf(config: PvtConfig, stage: number, grid: Size, hasClassToken: boolean): StageShape {
  const tokens = sizeOf(grid) + (hasClassToken ? 1 : 0);
  const keyGrid = keyGridOf(config, stage, grid);
  return {
    stage,
    grid,
    channels: config.dims[stage]!,
    heads: config.heads[stage]!,
    tokens,
    keyGrid,
    keyTokens: keyGrid === undefined ? tokens : sizeOf(keyGrid),
  };
}

function keyGridOf(config: PvtConfig, stage: number, [height, width]: Size): Size | undefined {
  const reduction = reductionOf(config, stage);
  switch (reduction.kind) {
    case 'none':
      return undefined;
    case 'pool':
      return [reduction.size, reduction.size];
    case 'convolution':
      return [Math.floor(height / reduction.ratio), Math.floor(width / reduction.ratio)];
  }
}

const layer = (
  stage: number,
  path: string,
  kind: LayerKind,
  input: readonly number[],
  output: readonly number[],
  macs: number,
  spec: Spec = {},
): LayerCost => ({
  path,
  kind,
  stage,
  input,
  output,
  params: countParams(spec),
  macs,
  activationBytes: 4 * sizeOf(output),
});

const normLayer = (stage: number, path: string, tokens: number, channels: number, spec: Spec): LayerCost =>
  layer(stage, path, 'norm', [tokens, channels], [tokens, channels], 0, spec);

const linearLayer = (
  stage: number,
  path: string,
  tokens: number,
  inputs: number,
  outputs: number,
  spec: Spec,
): LayerCost =>
  layer(stage, path, 'linear', [tokens, inputs], [tokens, outputs], tokens * inputs * outputs, spec);

/** Patch embedding and, in v1, position embedding. `input` is the map of the stage before, or the image. */
function embeddingLayers(
  config: PvtConfig,
  { stage, grid, channels, tokens }: StageShape,
  input: readonly [height: number, width: number, channels: number],
  { patch_embed, pos_embed, cls_token }: ReturnType<typeof stageSpec>,
): LayerCost[] {
  const path = `stages.${stage}`;
  const positions = sizeOf(grid);
  const macs = positions * channels * input[2] * config.patchSizes[stage]! ** 2;
  const output = [...grid, channels];
  const layers = [
    layer(stage, `${path}.patch_embed.proj`, 'convolution', input, output, macs, patch_embed.proj),
    normLayer(stage, `${path}.patch_embed.norm`, positions, channels, patch_embed.norm),
  ];
  if (pos_embed === undefined) return layers;
  const spec = { pos_embed, cls_token };
  const [before, after] = [
    [positions, channels],
    [tokens, channels],
  ];
  return [...layers, layer(stage, `${path}.pos_embed`, 'embedding', before, after, 0, spec)];
}

function attentionLayers(
  config: PvtConfig,
  shape: StageShape,
  path: string,
  spec: ReturnType<typeof attentionSpec>,
): LayerCost[] {
  const { stage, channels, heads, tokens, keyTokens } = shape;
  const map = [heads, tokens, keyTokens];
  const values = [tokens, channels];
  const productMacs = tokens * keyTokens * channels;
  return [
    linearLayer(stage, `${path}.q`, tokens, channels, channels, spec.q),
    ...reductionLayers(config, shape, path, spec),
    linearLayer(stage, `${path}.kv`, keyTokens, channels, 2 * channels, spec.kv),
    layer(stage, `${path}.scores`, 'attention', values, map, productMacs),
    layer(stage, `${path}.mix`, 'attention', map, values, productMacs),
    linearLayer(stage, `${path}.proj`, tokens, channels, channels, spec.proj),
  ];
}

/** The layers that shrink the map for keys and values, if any. */
function reductionLayers(
  config: PvtConfig,
  { stage, grid, channels, keyGrid, keyTokens }: StageShape,
  path: string,
  { sr, norm }: ReturnType<typeof attentionSpec>,
): LayerCost[] {
  if (sr === undefined || norm === undefined || keyGrid === undefined) return [];
  const reduction = reductionOf(config, stage);
  const [map, reduced] = [
    [...grid, channels],
    [...keyGrid, channels],
  ];
  const pooled = reduction.kind === 'pool';
  const kernel = reduction.kind === 'convolution' ? reduction.ratio : 1;
  const macs = keyTokens * channels * channels * kernel ** 2;
  return [
    ...(pooled ? [layer(stage, `${path}.pool`, 'pool', map, reduced, 0)] : []),
    layer(stage, `${path}.sr`, 'convolution', pooled ? reduced : map, reduced, macs, sr),
    normLayer(stage, `${path}.norm`, keyTokens, channels, norm),
  ];
}

function mlpLayers(
  config: PvtConfig,
  { stage, grid, channels, tokens }: StageShape,
  path: string,
  { fc1, dwconv, fc2 }: ReturnType<typeof mlpSpec>,
): LayerCost[] {
  const hidden = hiddenWidth(config, stage);
  const map = [...grid, hidden];
  const first = linearLayer(stage, `${path}.fc1`, tokens, channels, hidden, fc1);
  const last = linearLayer(stage, `${path}.fc2`, tokens, hidden, channels, fc2);
  if (dwconv === undefined) return [first, last];
  return [first, layer(stage, `${path}.dwconv`, 'depthwise', map, map, sizeOf(map) * 9, dwconv), last];
}

function stageLayers(
  config: PvtConfig,
  shape: StageShape,
  input: readonly [height: number, width: number, channels: number],
  spec: ReturnType<typeof stageSpec>,
): LayerCost[] {
  const { stage, channels, tokens } = shape;
  const blocks = spec.blocks.flatMap(({ norm1, attn, norm2, mlp }, i) => {
    const path = `stages.${stage}.blocks.${i}`;
    return [
      normLayer(stage, `${path}.norm1`, tokens, channels, norm1),
      ...attentionLayers(config, shape, `${path}.attn`, attn),
      normLayer(stage, `${path}.norm2`, tokens, channels, norm2),
      ...mlpLayers(config, shape, `${path}.mlp`, mlp),
    ];
  });
  const last = spec.norm && normLayer(stage, `stages.${stage}.norm`, tokens, channels, spec.norm);
  return [...embeddingLayers(config, shape, input, spec), ...blocks, ...(last ? [last] : [])];
}

function totals(layers: readonly LayerCost[]): Totals {
  const sum = (field: keyof Totals) => layers.reduce((total, layer) => total + layer[field], 0);
  return { params: sum('params'), macs: sum('macs'), activationBytes: sum('activationBytes') };
}

/**
 * Parameters, multiply-adds and activation sizes of a model at an input size, per layer and per stage, at
 * batch 1, without allocating a tensor. The classifier is included if the config has classes.
 *
 * @param size input [height, width] in pixels. Default: the config's own.
 * @throws ShapeError if the input is too small
 * @example
 * cost(pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2] })).macs; // 566_065_664
 */
export function cost(config: PvtConfig, size: Size = config.imageSize): Cost {
  const features = featuresOf(config);
  const layers: LayerCost[] = [];
  const stages: StageCost[] = [];
  let input = [...size, config.channels] as const;
  for (const [stage, grid] of gridSizes(config, size).entries()) {
    const spec = stageSpec(config, stage);
    const shape = shapeOf(config, stage, grid, spec.cls_token !== undefined);
    const { channels, heads, tokens, keyTokens } = shape;
    const own = stageLayers(config, shape, input, spec);
    layers.push(...own);
    const attentionMap = [heads, tokens, keyTokens] as const;
    const { stride } = features[stage]!;
    stages.push({ stage, stride, grid, tokens, keyTokens, attentionMap, ...totals(own) });
    input = [...grid, channels];
  }
  if (config.classes > 0) {
    const [stage, width] = [config.dims.length - 1, config.dims.at(-1)!];
    const spec = classifierSpec(width, config.classes);
    layers.push(layer(stage, 'head', 'linear', [width], [config.classes], width * config.classes, spec));
  }
  return { size, layers, stages, ...totals(layers) };
}
