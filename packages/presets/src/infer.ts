import { CheckpointError, pvtConfig, type PvtConfig, type PvtConfigInput, type StateDict } from '@pvt/core';
import { getModel, listModels, type ModelName } from './models.ts';
import type { Naming, Version } from './names/naming.ts';

/** A config read off a checkpoint's names and shapes. */
export interface InferredConfig {
  readonly config: PvtConfig;
  /** The variant with these shapes, where there is one. */
  readonly model?: ModelName;
  /** Fields that leave no trace in shapes, and were filled in by the published rule instead. */
  readonly assumed: readonly string[];
}

/**
 * Epsilons by where a checkpoint comes from: Hugging Face runs every LayerNorm with 1e-6, the official code and timm
 * keep PyTorch's 1e-5 in patch embeddings and reductions.
 */
const epsOf = (naming: Naming): PvtConfig['eps'] =>
  naming === 'huggingFace'
    ? { block: 1e-6, patchEmbed: 1e-6, reduction: 1e-6 }
    : { block: 1e-6, patchEmbed: 1e-5, reduction: 1e-5 };

const unclear = (expected: string, got: string): never => {
  throw new CheckpointError(
    'config-unclear',
    `readCheckpoint: expected ${expected} to tell the config from, got ${got}; name the model or give its config.`,
  );
};

function shapeOf(state: StateDict, path: string, rank: number): readonly number[] {
  const shape = state.get(path)?.shape;
  if (shape === undefined || shape.length !== rank || shape.some((side) => side < 1))
    return unclear(`${path} with ${rank} axes`, shape === undefined ? 'none' : `[${shape}]`);
  return shape;
}

/**
 * What a checkpoint says for itself even where a config is given: classes, channels, epsilons, biases, and for v1 the
 * image size of its position embeddings (square) and whether it has a class token.
 */
export function factsOf(
  state: StateDict,
  { naming, version }: { readonly naming: Naming; readonly version: Version },
) {
  const [, channels, patch] = shapeOf(state, 'stages.0.patch_embed.proj.weight', 4) as [
    number,
    number,
    number,
  ];
  const shared = {
    channels,
    classes: state.has('head.weight') ? shapeOf(state, 'head.weight', 2)[0]! : 0,
    qkvBias: state.has('stages.0.blocks.0.attn.q.bias'),
    eps: epsOf(naming),
  };
  if (version === 'v2') return shared;
  const tokens = shapeOf(state, 'stages.0.pos_embed', 3)[1]!;
  const side = Math.sqrt(tokens);
  if (!Number.isInteger(side))
    return unclear('position embeddings of a square image', `${tokens} in the first stage`);
  return {
    ...shared,
    imageSize: [side * patch, side * patch] as const,
    classToken: [...state.keys()].some((path) => path.endsWith('.cls_token')),
  };
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** What shapes show of an architecture. */
const visible = ({ version, dims, depths, mlpRatios, patchSizes, reductions, ...rest }: PvtConfig) => {
  const linear = 'linear' in rest && rest.linear;
  return { version, dims, depths, mlpRatios, patchSizes, linear, reductions: linear ? 'unused' : reductions };
};

/**
 * The variant that a config describes, whatever its classes, channels and image size.
 *
 * @example
 * nameOf(pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2] })); // 'pvt_v2_b0'
 */
export function nameOf(config: PvtConfig): ModelName | undefined {
  return listModels().find((name) => {
    const preset: PvtConfig = pvtConfig<PvtConfigInput>(getModel(name).config);
    return (
      same(visible(preset), visible(config)) &&
      same(preset.heads, config.heads) &&
      same(preset.strides, config.strides)
    );
  });
}

/**
 * Reads a config off a canonical state. Heads, strides and drop path leave no trace: they are those of the variant
 * with the same shapes, else heads 1, 2, 5, 8 where they divide the widths, and strides of half a patch.
 *
 * @throws CheckpointError where the shapes do not tell enough
 */
export function inferConfig(
  state: StateDict,
  { naming, version }: { readonly naming: Naming; readonly version: Version },
): InferredConfig {
  const depths: number[] = [];
  for (const path of state.keys()) {
    const [, stage, , block] = /^stages\.(\d+)\.(blocks\.(\d+)\.)?/.exec(path) ?? [];
    if (stage !== undefined)
      depths[Number(stage)] = Math.max(
        depths[Number(stage)] ?? 0,
        block === undefined ? 0 : Number(block) + 1,
      );
  }
  const stages = Array.from(depths, (_, stage) => {
    const [width, , patchSize, patchWidth] = shapeOf(state, `stages.${stage}.patch_embed.proj.weight`, 4) as [
      number,
      number,
      number,
      number,
    ];
    if (patchSize !== patchWidth)
      unclear('square patches', `${patchSize}x${patchWidth} in stage ${stage + 1}`);
    const reduction = state.has(`stages.${stage}.blocks.0.attn.sr.weight`)
      ? shapeOf(state, `stages.${stage}.blocks.0.attn.sr.weight`, 4)[2]!
      : undefined;
    return {
      width,
      patchSize,
      reduction,
      mlpRatio: shapeOf(state, `stages.${stage}.blocks.0.mlp.fc1.weight`, 2)[0]! / width,
    };
  });
  // Only linear attention has a 1x1 convolution where others reduce.
  const linear = version === 'v2' && stages.some(({ reduction }) => reduction === 1);
  const dims = stages.map(({ width }) => width);
  const shapes = {
    dims,
    depths: [...depths],
    mlpRatios: stages.map(({ mlpRatio }) => mlpRatio),
    patchSizes: stages.map(({ patchSize }) => patchSize),
    ...(!linear && { reductions: stages.map(({ reduction }) => reduction ?? 1) }),
    ...factsOf(state, { naming, version }),
  };
  const architecture = (
    version === 'v1' ? { version, ...shapes } : { version, linear, ...shapes }
  ) as PvtConfigInput;
  const complete = (more: Partial<PvtConfig>): PvtConfig =>
    pvtConfig<PvtConfigInput>({ ...architecture, ...more } as PvtConfigInput);

  for (const name of listModels()) {
    const preset: PvtConfig = pvtConfig<PvtConfigInput>(getModel(name).config);
    const { heads, strides, dropPath, imageSize } = preset;
    if (!same(dims, preset.dims)) continue;
    const config = complete({
      heads,
      strides,
      dropPath,
      reductions: linear ? preset.reductions : stages.map(({ reduction }) => reduction ?? 1),
      ...(version === 'v2' && { imageSize }),
    });
    if (same(visible(preset), visible(config))) return { config, model: name, assumed: [] };
  }
  const heads = [1, 2, 5, 8];
  if (dims.length !== 4 || dims.some((width, stage) => width % heads[stage]! !== 0)) {
    unclear('a known variant, or four widths that 1, 2, 5 and 8 heads divide,', `widths ${dims.join(', ')}`);
  }
  const strides = stages.map(({ patchSize }) => (version === 'v1' ? patchSize : Math.ceil(patchSize / 2)));
  return {
    config: complete({ heads, strides }),
    assumed: ['heads', 'strides', ...(linear ? ['reductions'] : [])],
  };
}
