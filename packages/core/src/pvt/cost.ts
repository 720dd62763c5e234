import { gridSizes, linearPoolSize, type PvtConfig } from '../config.ts';
import { linearSpec } from '../layers/linear.ts';
import { countParams, type Spec } from '../params/spec.ts';
import { reductionOf } from './attention.ts';
import { hiddenWidth } from './mlp.ts';
import { featuresOf } from './pvt.ts';
import { stageSpec } from './stage.ts';

export type LayerKind = 'convolution' | 'depthwise' | 'linear' | 'norm' | 'pool' | 'attention' | 'embedding';

/** What one layer of a model costs, at batch 1. */
export interface LayerCost {
  /** Canonical path of the layer, as its parameters are named. */
  readonly path: string;
  readonly kind: LayerKind;
  /** Zero-based; the classifier counts to the last one. */
  readonly stage: number;
  /** Maps as [h, w, C], tokens as [N, C], an attention map as [heads, N, M]. */
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly params: number;
  /** Multiply-adds of convolutions, linear layers and the two attention products; no bias, norm, activation, softmax or pooling. */
  readonly macs: number;
  /** Bytes of the layer's output in float32. */
  readonly activationBytes: number;
}

/** What a stage costs, at batch 1. */
export interface StageCost {
  readonly stage: number;
  readonly stride: number;
  /** Height and width of the map. */
  readonly grid: readonly [height: number, width: number];
  /** Tokens that attend, the class token included. */
  readonly tokens: number;
  /** Tokens that keys and values are made from. */
  readonly keyTokens: number;
  /** [heads, N, M] of one block's attention map. */
  readonly attentionMap: readonly [heads: number, tokens: number, keyTokens: number];
  readonly params: number;
  readonly macs: number;
  readonly activationBytes: number;
}

export interface Cost {
  readonly size: readonly [height: number, width: number];
  readonly layers: readonly LayerCost[];
  readonly stages: readonly StageCost[];
  readonly params: number;
  readonly macs: number;
  readonly activationBytes: number;
}

const product = (sides: readonly number[]): number => sides.reduce((a, b) => a * b, 1);
const sum = <T>(items: readonly T[], value: (item: T) => number): number =>
  items.reduce((total, item) => total + value(item), 0);

/**
 * Parameters, multiply-adds and activation sizes of a model at an input size, per layer and per stage, at batch 1,
 * without allocating a tensor. The classifier is included where the config has classes.
 *
 * @param size input [height, width] in pixels; the config's own by default
 * @throws ShapeError where the input is too small
 * @example
 * cost(pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2] })).macs; // 566_065_664
 */
export function cost(
  config: PvtConfig,
  size: readonly [height: number, width: number] = config.imageSize,
): Cost {
  const grids = gridSizes(config, size);
  const features = featuresOf(config);
  const layers: LayerCost[] = [];
  const stages: StageCost[] = [];

  for (const [index, grid] of grids.entries()) {
    const channels = config.dims[index]!;
    const spec = stageSpec(config, index);
    const positions = product(grid);
    const tokens = positions + (spec.cls_token === undefined ? 0 : 1);
    const reduction = reductionOf(config, index);
    const keyGrid =
      reduction.kind === 'pool'
        ? [linearPoolSize, linearPoolSize]
        : reduction.kind === 'convolution'
          ? grid.map((side) => Math.floor(side / reduction.ratio))
          : undefined;
    const keyTokens = keyGrid === undefined ? tokens : product(keyGrid);
    const first = layers.length;
    const add = (
      path: string,
      kind: LayerKind,
      input: readonly number[],
      output: readonly number[],
      macs: number,
      spec: Spec = {},
    ) =>
      layers.push({
        path: `stages.${index}.${path}`,
        kind,
        stage: index,
        input,
        output,
        params: countParams(spec),
        macs,
        activationBytes: 4 * product(output),
      });
    const addLinear = (path: string, count: number, inputs: number, outputs: number, spec: Spec) =>
      add(path, 'linear', [count, inputs], [count, outputs], count * inputs * outputs, spec);

    const before = index === 0 ? [...size, config.channels] : [...grids[index - 1]!, config.dims[index - 1]!];
    const kernel = config.patchSizes[index]!;
    add(
      'patch_embed.proj',
      'convolution',
      before,
      [...grid, channels],
      positions * channels * before[2]! * kernel ** 2,
      spec.patch_embed.proj,
    );
    add('patch_embed.norm', 'norm', [positions, channels], [positions, channels], 0, spec.patch_embed.norm);
    if (spec.pos_embed !== undefined) {
      add('pos_embed', 'embedding', [positions, channels], [tokens, channels], 0, {
        pos_embed: spec.pos_embed,
        cls_token: spec.cls_token,
      });
    }
    const hidden = hiddenWidth(config, index);
    const map = [config.heads[index]!, tokens, keyTokens] as const;
    for (const [blockIndex, block] of spec.blocks.entries()) {
      const at = (name: string) => `blocks.${blockIndex}.${name}`;
      const { attn, mlp } = block;
      add(at('norm1'), 'norm', [tokens, channels], [tokens, channels], 0, block.norm1);
      addLinear(at('attn.q'), tokens, channels, channels, attn.q);
      if (attn.sr !== undefined && keyGrid !== undefined) {
        const pooled = reduction.kind === 'pool';
        if (pooled) add(at('attn.pool'), 'pool', [...grid, channels], [...keyGrid, channels], 0);
        const side = reduction.kind === 'convolution' ? reduction.ratio : 1;
        add(
          at('attn.sr'),
          'convolution',
          [...(pooled ? keyGrid : grid), channels],
          [...keyGrid, channels],
          keyTokens * channels * channels * side ** 2,
          attn.sr,
        );
        add(at('attn.norm'), 'norm', [keyTokens, channels], [keyTokens, channels], 0, attn.norm);
      }
      addLinear(at('attn.kv'), keyTokens, channels, 2 * channels, attn.kv);
      add(at('attn.scores'), 'attention', [tokens, channels], map, tokens * keyTokens * channels);
      add(at('attn.mix'), 'attention', map, [tokens, channels], tokens * keyTokens * channels);
      addLinear(at('attn.proj'), tokens, channels, channels, attn.proj);
      add(at('norm2'), 'norm', [tokens, channels], [tokens, channels], 0, block.norm2);
      addLinear(at('mlp.fc1'), tokens, channels, hidden, mlp.fc1);
      if (mlp.dwconv !== undefined)
        add(
          at('mlp.dwconv'),
          'depthwise',
          [...grid, hidden],
          [...grid, hidden],
          positions * hidden * 9,
          mlp.dwconv,
        );
      addLinear(at('mlp.fc2'), tokens, hidden, channels, mlp.fc2);
    }
    if (spec.norm !== undefined) add('norm', 'norm', [tokens, channels], [tokens, channels], 0, spec.norm);

    const own = layers.slice(first);
    stages.push({
      stage: index,
      stride: features[index]!.stride,
      grid,
      tokens,
      keyTokens,
      attentionMap: map,
      ...totals(own),
    });
  }
  const width = config.dims.at(-1)!;
  if (config.classes > 0) {
    const macs = width * config.classes;
    layers.push({
      path: 'head',
      kind: 'linear',
      stage: config.dims.length - 1,
      input: [width],
      output: [config.classes],
      params: countParams(linearSpec(width, config.classes)),
      macs,
      activationBytes: 4 * config.classes,
    });
  }
  return { size, layers, stages, ...totals(layers) };
}

const totals = (layers: readonly LayerCost[]) => ({
  params: sum(layers, (layer) => layer.params),
  macs: sum(layers, (layer) => layer.macs),
  activationBytes: sum(layers, (layer) => layer.activationBytes),
});
