import type * as tf from '@tensorflow/tfjs-core';
import { ConfigError, leavesOf, sizeOf, type ParamSpec, type Spec } from '@pvt/core';

/** One parameter of a model, where it lives. */
export interface Parameter {
  /** Canonical path, as in checkpoints; below the model's name where models are given by name. */
  readonly path: string;
  readonly variable: tf.Variable;
  readonly spec: ParamSpec;
}

/** What has parameters: a {@link Model}, or anything with a spec and the tensors of it. */
export interface Parameterized {
  readonly spec: Spec;
  readonly params: unknown;
}

/** A model, or several under the names that their checkpoint has for them, such as `{ backbone, neck, bbox_head }`. */
export type Models = Parameterized | Readonly<Record<string, Parameterized>>;

const isModel = (models: Models): models is Parameterized => 'spec' in models && 'params' in models;

/** Everything that models store: parameters and, marked in their spec, buffers. */
export function stateOf(models: Models): Parameter[] {
  const named: readonly (readonly [string, Parameterized])[] = isModel(models)
    ? [['', models]]
    : Object.entries(models);
  return named.flatMap(([name, { spec, params }]) =>
    Array.from(leavesOf(spec), ([path, leaf]) => {
      const variable = path
        .split('.')
        .reduce((node, key) => (node as Record<string, unknown>)[key], params) as tf.Variable;
      return { path: [name, path].filter((part) => part !== '').join('.'), variable, spec: leaf };
    }),
  );
}

/** Which parameters train. */
export type Selection = (path: string) => boolean;

/** All of them. */
export const everything: Selection = () => true;

/** Zero-based stage and block of a backbone's parameter. */
function placeOf(path: string): { readonly stage?: number; readonly block?: number } {
  const found = /(?:^|\.)stages\.(\d+)\.(?:blocks\.(\d+))?/.exec(path);
  if (found === null) return {};
  return { stage: Number(found[1]), ...(found[2] !== undefined && { block: Number(found[2]) }) };
}

/** All but the backbone: heads, necks, classifiers. */
export const headOnly: Selection = (path) => placeOf(path).stage === undefined;

/**
 * The backbone from a stage on, counted from 1 as the papers do, and all that comes after it.
 *
 * @example
 * parametersOf(model, fromStage(3)); // stages 3 and 4 and the head
 */
export function fromStage(stage: number): Selection {
  if (!(Number.isInteger(stage) && stage >= 1))
    throw new ConfigError(
      'stage-invalid',
      `fromStage: expected a stage counted from 1, got ${stage}; fromStage(1) trains everything.`,
    );
  return (path) => (placeOf(path).stage ?? stage) >= stage - 1;
}

/**
 * Parameters by the pattern of their path; `*` stands for any characters.
 *
 * @example
 * parametersOf(model, named('head.*', '*.norm*.bias'));
 */
export function named(...patterns: readonly string[]): Selection {
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
 * A model's parameters, or those that a selection names; no buffers.
 *
 * @throws ConfigError where nothing is left to train
 * @example
 * const parameters = parametersOf({ backbone, head }, named('head.*'));
 */
export function parametersOf(models: Models, selection: Selection = everything): Parameter[] {
  const parameters = stateOf(models).filter(({ path, spec }) => !spec.buffer && selection(path));
  if (parameters.length === 0) {
    const [first] = stateOf(models);
    throw new ConfigError(
      'selection-empty',
      `parametersOf: expected a selection that names some of the parameters, got one that names none; their paths are such as ${first?.path ?? '(this model has none)'}.`,
    );
  }
  return parameters;
}

/** One line of {@link parameterTable}. */
export interface ParameterRow {
  readonly part: string;
  /** Numbers, not tensors. */
  readonly trainable: number;
  readonly frozen: number;
}

/** Counts of numbers by part of the model: a stage, a neck, a head. */
export function countByPart(models: Models, selection: Selection = everything): ParameterRow[] {
  const rows = new Map<string, { part: string; trainable: number; frozen: number }>();
  for (const { path, spec } of stateOf(models)) {
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
 * What trains and what is frozen, as a table to print.
 *
 * @example
 * console.log(parameterTable(model, fromStage(3)));
 */
export function parameterTable(models: Models, selection: Selection = everything): string {
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

/** Factors on the optimiser's learning rate and weight decay for one parameter. */
export interface ParameterGroup {
  readonly rate: number;
  readonly decay: number;
}

/** Says which group a parameter is in. */
export type Grouping = (parameter: Parameter) => ParameterGroup;

/**
 * Weights of products and convolutions decay; norms, biases, position embeddings and class tokens, the ones that files
 * store as they are, do not.
 */
export const decayWeightsOnly: Grouping = ({ spec }) => ({ rate: 1, decay: spec.layout === 'plain' ? 0 : 1 });

/**
 * Layer-wise learning-rate decay (Clark et al., ELECTRA, arXiv:2003.10555): what comes after the backbone learns at the full rate, each block below at
 * `factor` of the one above. A stage's embedding counts to its first block, its norm to its last.
 *
 * @param parameters all of the model's, which tell how deep it is
 * @example
 * adamW({ learningRate: 5e-4, groups: layerWise(0.75, parametersOf(model)) });
 */
export function layerWise(
  factor: number,
  parameters: readonly Parameter[],
  groups: Grouping = decayWeightsOnly,
): Grouping {
  const depths: number[] = [];
  for (const { path } of parameters) {
    const { stage, block } = placeOf(path);
    if (stage !== undefined && block !== undefined) depths[stage] = Math.max(depths[stage] ?? 0, block + 1);
  }
  const before = (stage: number) => depths.slice(0, stage).reduce((sum, depth) => sum + (depth ?? 0), 0);
  return (parameter) => {
    const group = groups(parameter);
    const { stage, block } = placeOf(parameter.path);
    if (stage === undefined) return group;
    const index =
      before(stage) + (block ?? (/stages\.\d+\.norm\./.test(parameter.path) ? depths[stage]! - 1 : 0));
    return { ...group, rate: group.rate * factor ** (before(depths.length) - index) };
  };
}
