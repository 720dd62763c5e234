import { CheckpointError, pvtConfig, type PvtConfig, type PvtConfigInput, type StateDict } from '@pvt/core';
import { getModel, listModels, type ModelName } from './models.ts';
import { namings, type DetectedNaming } from './names/naming.ts';

/** A config read off a checkpoint's names and shapes. */
export interface InferredConfig {
  readonly config: PvtConfig;
  /** The variant with these shapes, if there is one. */
  readonly model?: ModelName;
  /** Fields that leave no trace in shapes and were filled in by the published rule. */
  readonly assumed: readonly string[];
}

const unclear = (expected: string, got: string): never => {
  throw new CheckpointError(
    'config-unclear',
    `readCheckpoint: expected ${expected} to infer the config from, got ${got}; ` +
      'name the model or give its config.',
  );
};

function shapeOf(state: StateDict, path: string, rank: 2 | 3 | 4): readonly [number, number, number, number] {
  const shape = state.get(path)?.shape;
  if (shape === undefined || shape.length !== rank || shape.some((side) => side < 1))
    return unclear(`${path} with ${rank} axes`, shape === undefined ? 'none' : `[${shape}]`);
  const [a, b, c = 1, d = 1] = shape;
  return [a!, b!, c, d];
}

/**
 * Fields that come from the checkpoint even if a config is given: classes, channels, epsilons, biases, and
 * for v1 the (square) image size of its position embeddings and whether it has a class token.
 */
export function inferFields(state: StateDict, { naming, version }: DetectedNaming) {
  const [, channels, patchSize] = shapeOf(state, 'stages.0.patch_embed.proj.weight', 4);
  const shared = {
    channels,
    classes: state.has('head.weight') ? shapeOf(state, 'head.weight', 2)[0] : 0,
    qkvBias: state.has('stages.0.blocks.0.attn.q.bias'),
    eps: namings[naming].eps,
  };
  if (version === 'v2') return shared;
  const [, tokens] = shapeOf(state, 'stages.0.pos_embed', 3);
  const side = Math.sqrt(tokens);
  if (!Number.isInteger(side))
    return unclear('position embeddings of a square image', `${tokens} in the first stage`);
  return {
    ...shared,
    imageSize: [side * patchSize, side * patchSize] as const,
    classToken: [...state.keys()].some((path) => path.endsWith('.cls_token')),
  };
}

const isEqual = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** The part of a config that shapes show. */
function visibleFields({ version, dims, depths, mlpRatios, patchSizes, reductions, ...rest }: PvtConfig) {
  const linear = 'linear' in rest && rest.linear;
  return { version, dims, depths, mlpRatios, patchSizes, linear, reductions: linear ? 'unused' : reductions };
}

const completePreset = (name: ModelName): PvtConfig => pvtConfig<PvtConfigInput>(getModel(name).config);

/**
 * The variant that a config describes, whatever its classes, channels and image size.
 *
 * @example
 * modelNameOf(pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2] })); // 'pvt_v2_b0'
 */
export function modelNameOf(config: PvtConfig): ModelName | undefined {
  return listModels().find((name) => {
    const preset = completePreset(name);
    return (
      isEqual(visibleFields(preset), visibleFields(config)) &&
      isEqual(preset.heads, config.heads) &&
      isEqual(preset.strides, config.strides)
    );
  });
}

/** Blocks in each stage; a gap for a stage without parameters. */
function depthsOf(state: StateDict): number[] {
  const depths: number[] = [];
  for (const path of state.keys()) {
    const [, stage, , block = -1] = /^stages\.(\d+)\.(blocks\.(\d+)\.)?/.exec(path) ?? [];
    if (stage === undefined) continue;
    const index = Number(stage);
    depths[index] = Math.max(depths[index] ?? 0, Number(block) + 1);
  }
  return depths;
}

interface StageShapes {
  readonly width: number;
  readonly depth: number;
  readonly patchSize: number;
  /** Side of the spatial reduction's kernel; undefined if the stage has none. */
  readonly reduction: number | undefined;
  readonly mlpRatio: number;
}

function stageShapes(state: StateDict, stage: number, depth: number): StageShapes {
  const [width, , patchSize, patchWidth] = shapeOf(state, `stages.${stage}.patch_embed.proj.weight`, 4);
  if (patchSize !== patchWidth) unclear('square patches', `${patchSize}x${patchWidth} in stage ${stage + 1}`);
  const reductionPath = `stages.${stage}.blocks.0.attn.sr.weight`;
  const reduction = state.has(reductionPath) ? shapeOf(state, reductionPath, 4)[2] : undefined;
  const [hidden] = shapeOf(state, `stages.${stage}.blocks.0.mlp.fc1.weight`, 2);
  return { width, depth, patchSize, reduction, mlpRatio: hidden / width };
}

/**
 * Reads a config off a canonical state. Heads, strides and drop path leave no trace: they are those of the
 * variant with the same shapes, else 1, 2, 5 and 8 heads if these divide the widths, and strides of half a
 * patch.
 *
 * @throws CheckpointError `config-unclear` if the shapes do not say enough
 */
export function inferConfig(state: StateDict, detected: DetectedNaming): InferredConfig {
  const { version } = detected;
  const stages = Array.from(depthsOf(state), (depth = 0, stage) => stageShapes(state, stage, depth));
  // Only linear attention has a 1x1 convolution in place of the spatial reduction.
  const linear = version === 'v2' && stages.some(({ reduction }) => reduction === 1);
  const shapes = {
    dims: stages.map(({ width }) => width),
    depths: stages.map(({ depth }) => depth),
    mlpRatios: stages.map(({ mlpRatio }) => mlpRatio),
    patchSizes: stages.map(({ patchSize }) => patchSize),
    ...(!linear && { reductions: stages.map(({ reduction = 1 }) => reduction) }),
    ...inferFields(state, detected),
  };
  const architecture: Architecture =
    version === 'v1' ? { version, ...shapes } : { version, linear, ...shapes };
  return asVariant(architecture) ?? byPublishedRule(architecture);
}

/** What shapes say of a config. */
interface Architecture {
  readonly version: PvtConfig['version'];
  readonly dims: readonly number[];
  readonly patchSizes: readonly number[];
  readonly linear?: boolean;
}

const complete = (architecture: Architecture, more: Partial<PvtConfig>): PvtConfig =>
  pvtConfig<PvtConfigInput>({ ...architecture, ...more } as PvtConfigInput);

/** The config with what shapes do not show taken from the variant that has the same ones. */
function asVariant(architecture: Architecture): InferredConfig | undefined {
  for (const model of listModels()) {
    const preset = completePreset(model);
    if (!isEqual(architecture.dims, preset.dims)) continue;
    const { heads, strides, dropPath, imageSize, reductions } = preset;
    const config = complete(architecture, {
      heads,
      strides,
      dropPath,
      ...(architecture.linear && { reductions }),
      ...(architecture.version === 'v2' && { imageSize }),
    });
    if (isEqual(visibleFields(preset), visibleFields(config))) return { config, model, assumed: [] };
  }
  return undefined;
}

/** The config with heads and strides as every published variant of four stages has them. */
function byPublishedRule(architecture: Architecture): InferredConfig {
  const { version, dims, patchSizes, linear } = architecture;
  const heads = [1, 2, 5, 8];
  if (dims.length !== 4 || dims.some((width, stage) => width % heads[stage]! !== 0))
    unclear('a known variant, or four widths that 1, 2, 5 and 8 heads divide,', `widths ${dims.join(', ')}`);
  const strides = patchSizes.map((size) => (version === 'v1' ? size : Math.ceil(size / 2)));
  return {
    config: complete(architecture, { heads, strides }),
    assumed: ['heads', 'strides', ...(linear ? ['reductions'] : [])],
  };
}
