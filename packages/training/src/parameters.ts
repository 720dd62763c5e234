import type * as tf from '@tensorflow/tfjs-core';
import { ConfigError, leavesOf, sizeOf, type ParamSpec, type Spec } from '@pvt/core';

/** One parameter of a model, where it lives. */
export interface Parameter {
  /** Canonical path, as in checkpoints, prefixed by the model's name if models are given by name. */
  readonly path: string;
  readonly variable: tf.Variable;
  readonly spec: ParamSpec;
}

/** A {@link Model}, or anything else with a spec and its tensors. */
export interface Parameterized {
  readonly spec: Spec;
  readonly params: unknown;
}

/** A model, or several under their names in the checkpoint, such as `{ backbone, neck, bbox_head }`. */
export type Models = Parameterized | Readonly<Record<string, Parameterized>>;

const isModel = (models: Models): models is Parameterized => 'spec' in models && 'params' in models;

/** Everything that models store: parameters and buffers, which their spec marks. */
export function stateEntries(models: Models): Parameter[] {
  const byName: readonly (readonly [string, Parameterized])[] = isModel(models)
    ? [['', models]]
    : Object.entries(models);
  return byName.flatMap(([name, { spec, params }]) =>
    Array.from(leavesOf(spec), ([path, leaf]) => {
      const variable = path
        .split('.')
        .reduce((node, key) => (node as Record<string, unknown>)[key], params) as tf.Variable;
      return { path: [name, path].filter((part) => part !== '').join('.'), variable, spec: leaf };
    }),
  );
}

/** Which parameters train, by path. */
export type Selection = (path: string) => boolean;

/** All parameters. */
export const allParameters: Selection = () => true;

/** Stage and block of a backbone's parameter, counted from 0. */
function stageAndBlock(path: string): { readonly stage?: number; readonly block?: number } {
  const found = /(?:^|\.)stages\.(\d+)\.(?:blocks\.(\d+))?/.exec(path);
  if (found === null) return {};
  return { stage: Number(found[1]), ...(found[2] !== undefined && { block: Number(found[2]) }) };
}

/** Everything but the backbone: heads, necks, classifiers. */
export const headOnly: Selection = (path) => stageAndBlock(path).stage === undefined;

/**
 * The backbone from a stage on, counted from 1 as in the papers, and everything after it.
 *
 * @throws ConfigError for a stage that is not a positive integer
 * @example
 * parametersOf(model, fromStage(3)); // stages 3 and 4 and the head
 */
export function fromStage(stage: number): Selection {
  if (!(Number.isInteger(stage) && stage >= 1))
    throw new ConfigError(
      'stage-invalid',
      `fromStage: expected a stage counted from 1, got ${stage}; fromStage(1) trains everything.`,
    );
  return (path) => (stageAndBlock(path).stage ?? stage) >= stage - 1;
}

/**
 * Parameters whose path matches one of the patterns, in which `*` stands for any characters.
 *
 * @example
 * parametersOf(model, matching('head.*', '*.norm*.bias'));
 */
export function matching(...patterns: readonly string[]): Selection {
  const expressions = patterns.map(
    (pattern) =>
      new RegExp(
        `^${pattern
          .split('*')
          .map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
          .join('.*')}$`,
      ),
  );
  return (path) => expressions.some((expression) => expression.test(path));
}

/**
 * The selected parameters of a model, without buffers.
 *
 * @param selection default: all
 * @throws ConfigError if there are none
 * @example
 * const parameters = parametersOf({ backbone, head }, matching('head.*'));
 */
export function parametersOf(models: Models, selection: Selection = allParameters): Parameter[] {
  const parameters = stateEntries(models).filter(({ path, spec }) => !spec.buffer && selection(path));
  if (parameters.length === 0) {
    const [first] = stateEntries(models);
    throw new ConfigError(
      'selection-empty',
      'parametersOf: expected a selection of some parameters, got one that matches none; ' +
        `their paths are such as ${first?.path ?? '(this model has none)'}.`,
    );
  }
  return parameters;
}

/** One line of {@link parameterTable}. */
export interface ParameterRow {
  readonly part: string;
  /** Numbers of values, not of tensors. */
  readonly trainable: number;
  readonly frozen: number;
}

/** Numbers of values by part of the model: a stage, a neck, a head. */
export function countByPart(models: Models, selection: Selection = allParameters): ParameterRow[] {
  const rows = new Map<string, { part: string; trainable: number; frozen: number }>();
  for (const { path, spec } of stateEntries(models)) {
    if (spec.buffer) continue;
    const part =
      /^(?:.*?\.)?stages\.\d+/.exec(path)?.[0] ??
      path
        .split('.')
        .slice(0, isModel(models) ? 1 : 2)
        .join('.');
    const row = rows.get(part) ?? { part, trainable: 0, frozen: 0 };
    row[selection(path) ? 'trainable' : 'frozen'] += sizeOf(spec.shape);
    rows.set(part, row);
  }
  return [...rows.values()];
}

/**
 * A table of the trainable and frozen values, to print.
 *
 * @example
 * console.log(parameterTable(model, fromStage(3)));
 */
export function parameterTable(models: Models, selection: Selection = allParameters): string {
  const rows = countByPart(models, selection);
  const sum = (key: 'trainable' | 'frozen') => rows.reduce((total, row) => total + row[key], 0);
  const lines = [...rows, { part: 'total', trainable: sum('trainable'), frozen: sum('frozen') }].map(
    ({ part, trainable, frozen }) => [part, trainable.toLocaleString('en'), frozen.toLocaleString('en')],
  );
  const cells = [['part', 'trainable', 'frozen'], ...lines];
  const widths = [0, 1, 2].map((column) => Math.max(...cells.map((line) => line[column]!.length)));
  return cells
    .map(
      ([part, trainable, frozen]) =>
        `${part!.padEnd(widths[0]!)}  ${trainable!.padStart(widths[1]!)}  ${frozen!.padStart(widths[2]!)}`,
    )
    .join('\n');
}

/** Factors on the optimizer's learning rate and weight decay for one parameter. */
export interface ParameterGroup {
  readonly rate: number;
  readonly decay: number;
}

/** The group of a parameter. */
export type Grouping = (parameter: Parameter) => ParameterGroup;

/**
 * Weights of matrix products and convolutions decay; norms, biases, position embeddings and class tokens do
 * not. The latter are those that checkpoints store in the same layout.
 */
export const decayWeightsOnly: Grouping = ({ spec }) => ({ rate: 1, decay: spec.layout === 'plain' ? 0 : 1 });

/**
 * Layer-wise learning-rate decay (Clark et al., ELECTRA, arXiv:2003.10555): whatever follows the backbone
 * learns at the full rate, and each block at `factor` of the rate of the one after it. A stage's patch
 * embedding belongs to its first block, its norm to its last.
 *
 * @param parameters all parameters of the model, which determine its depth
 * @param groups other factors, which are multiplied. Default: {@link decayWeightsOnly}
 * @example
 * adamW({ learningRate: 5e-4, groups: layerDecay(0.75, parametersOf(model)) });
 */
export function layerDecay(
  factor: number,
  parameters: readonly Parameter[],
  groups: Grouping = decayWeightsOnly,
): Grouping {
  const depths: number[] = [];
  for (const { path } of parameters) {
    const { stage, block } = stageAndBlock(path);
    if (stage !== undefined && block !== undefined) depths[stage] = Math.max(depths[stage] ?? 0, block + 1);
  }
  const before = (stage: number) => depths.slice(0, stage).reduce((sum, depth) => sum + (depth ?? 0), 0);
  return (parameter) => {
    const group = groups(parameter);
    const { stage, block } = stageAndBlock(parameter.path);
    if (stage === undefined) return group;
    const index =
      before(stage) + (block ?? (/stages\.\d+\.norm\./.test(parameter.path) ? depths[stage]! - 1 : 0));
    return { ...group, rate: group.rate * factor ** (before(depths.length) - index) };
  };
}
