import * as tf from '@tensorflow/tfjs-core';
import { CheckpointError, type ShapeMismatch } from '../errors.ts';
import { toCheckpointLayout, toTensorLayout, type TensorData } from './layout.ts';
import { readInto, type ParamSource } from './source.ts';
import { isParamSpec, leavesOf, sizeOf, type ParamSpec, type ParamsOf, type Spec } from './spec.ts';

/** The first three items, and how many more there are. */
const summary = (items: readonly string[]): string =>
  items.slice(0, 3).join(', ') + (items.length > 3 ? ` and ${items.length - 3} more` : '');

function mapLeaves(spec: Spec, leaf: (path: string, spec: ParamSpec) => tf.Tensor, path = ''): unknown {
  if (isParamSpec(spec)) return leaf(path, spec);
  const child = (key: string | number, node: Spec) =>
    mapLeaves(node, leaf, path === '' ? `${key}` : `${path}.${key}`);
  if (Array.isArray(spec)) return (spec as readonly Spec[]).map((node, index) => child(index, node));
  const entries = Object.entries(spec as Record<string, Spec | undefined>);
  return Object.fromEntries(
    entries.flatMap(([key, node]) => (node === undefined ? [] : [[key, child(key, node)]])),
  );
}

/**
 * Whether the backend copies the array that a tensor is made of, as wasm does. Then one array serves
 * parameter after parameter, and a model's values are never in memory twice.
 */
function copiesArrays(): boolean {
  const array = Float32Array.of(0);
  const tensor = tf.tensor1d(array);
  array[0] = 1;
  const [value] = tensor.dataSync();
  tensor.dispose();
  return value === 0;
}

/** Memory for the largest parameter, as a source reads it and in the tensor's layout. */
interface Scratch {
  readonly read: Float32Array;
  readonly permuted: Float32Array;
}

function allocateScratch(spec: Spec): Scratch {
  const largest = Math.max(0, ...Array.from(leavesOf(spec), ([, { shape }]) => sizeOf(shape)));
  return { read: new Float32Array(largest), permuted: new Float32Array(largest) };
}

/** @throws CheckpointError listing all missing and mismatched parameters */
function checkSource(spec: Spec, source: ParamSource, who: string): void {
  const missing: string[] = [];
  const mismatched: ShapeMismatch[] = [];
  for (const [path, leaf] of leavesOf(spec)) {
    const found = source.shape(path, leaf);
    if (found === undefined) missing.push(path);
    else if (found.join() !== leaf.shape.join()) mismatched.push({ path, expected: leaf.shape, found });
  }
  if (missing.length + mismatched.length === 0) return;
  const wrong = mismatched.map(
    ({ path, expected, found }) => `${path} expected [${expected}] but found [${found}]`,
  );
  const parts = [missing.length > 0 ? `missing ${summary(missing)}` : '', summary(wrong)];
  throw new CheckpointError(
    'checkpoint-misfit',
    `${who}: expected a source with all of its parameters, ` +
      `got one with ${parts.filter(Boolean).join('; ')}; ` +
      'check that config and checkpoint describe the same model.',
    { missing, mismatched },
  );
}

function createVariable(
  path: string,
  leaf: ParamSpec,
  source: ParamSource,
  scratch: Scratch | undefined,
): tf.Variable {
  const read = scratch?.read.subarray(0, sizeOf(leaf.shape));
  const stored = read === undefined ? source.values(path, leaf) : readInto(source, path, leaf, read);
  const { shape, values } = toTensorLayout(
    { shape: leaf.shape, values: stored },
    leaf.layout,
    scratch?.permuted,
  );
  const initial = tf.tensor(values, [...shape], 'float32');
  const variable = tf.variable(initial, !leaf.buffer);
  initial.dispose();
  return variable;
}

/**
 * Allocates the parameters that a spec describes, as `tf.Variable`s on the current backend. Every path and
 * shape is checked first: a source that does not fit costs nothing and leaves nothing behind.
 *
 * @param who names the model in error messages
 * @throws CheckpointError listing all missing and mismatched parameters
 * @example
 * const params = materialize(linearSpec(256, 10), randomInit(1), 'my head');
 */
export function materialize<S extends Spec>(spec: S, source: ParamSource, who: string): ParamsOf<S> {
  checkSource(spec, source, who);
  const allocated: tf.Variable[] = [];
  const scratch = copiesArrays() ? allocateScratch(spec) : undefined;
  try {
    return mapLeaves(spec, (path, leaf) => {
      const variable = createVariable(path, leaf, source, scratch);
      allocated.push(variable);
      return variable;
    }) as ParamsOf<S>;
  } catch (error) {
    tf.dispose(allocated);
    throw error;
  }
}

/** A model's parameters, or those of one of its parts, with the spec that names them. */
interface Parameters {
  readonly spec: Spec;
  readonly params: unknown;
}

/**
 * Reads parameters back into a state dict, in checkpoint layout: the inverse of {@link materialize}.
 *
 * @example
 * const copy = createPvt(config, fromStateDict(await stateDict(backbone)));
 */
export async function stateDict({ spec, params }: Parameters): Promise<Map<string, TensorData>> {
  const state = new Map<string, TensorData>();
  for (const [path, leaf] of leavesOf(spec)) {
    const tensor = path
      .split('.')
      .reduce((node, key) => (node as Record<string, unknown>)[key], params) as tf.Tensor;
    const values = (await tensor.data()) as Float32Array;
    state.set(path, toCheckpointLayout({ shape: tensor.shape, values }, leaf.layout));
  }
  return state;
}
