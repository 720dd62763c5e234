import * as tf from '@tensorflow/tfjs-core';
import {
  cost,
  createPvt,
  leavesOf,
  patchEmbed,
  pvtConfig,
  scoped,
  toCheckpointLayout,
  type Pvt,
  type TensorData,
} from '@pvt/core';
import { createClassificationHead } from '@pvt/heads';
import { fromCanonical } from '@pvt/presets';
import { useBackend, useGradients, type BackendName } from '@pvt/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generate } from './generator.ts';
import { fromBase64, sourceOf, type Golden, type GoldenTensor } from './golden.ts';

const fixtures = import.meta.glob<Golden>('./fixtures/*.json', { eager: true, import: 'default' });

/** Every golden whose name begins so, from cheap to expensive. */
export const goldens = (prefix = ''): Golden[] =>
  Object.values(fixtures)
    .filter(({ name, gradients }) => name.startsWith(prefix) && gradients === undefined)
    .sort((a, b) => macs(a) - macs(b));

export const gradientGoldens = (): Golden[] =>
  Object.values(fixtures).filter(({ gradients }) => gradients !== undefined);

/** Multiply-adds of a golden's whole batch. */
export const macs = ({ config, input: [batch, , height, width] }: Golden): number =>
  batch * cost(pvtConfig(config), [height, width]).macs;

/**
 * float32 against the float64 reference. PyTorch's own float32 run is 2e-6 away; the sum of a longer chain in
 * another order is a few times that. The probes scale every norm down so far that a wrong epsilon shows at
 * 1e-6.
 */
export function toleranceOf({ name, config }: Golden): number {
  if (name.includes('epsprobe')) return 1e-6;
  const blocks = config.depths.reduce((sum, depth) => sum + depth, 0);
  return blocks > 20 ? 5e-5 : 2e-5;
}

/** Runs a forward: as it is, or in some other place. */
export type Run = <I, O>(forward: (input: I) => O, input: I) => O | Promise<O>;
export const directly: Run = (forward, input) => forward(input);

/** What our forward calls each of an implementation's outputs, in PyTorch's layout. */
function outputsOf(
  model: Pvt,
  logits: (embedding: tf.Tensor2D) => tf.Tensor2D,
  input: tf.Tensor4D,
  golden: Golden,
): Record<string, tf.Tensor> {
  const { pyramid, embedding, tokens, hiddenStates } = model.forward(input, {
    tokens: true,
    hiddenStates: true,
  });
  const nchw = (map: tf.Tensor4D) => tf.transpose(map, [0, 3, 1, 2]);
  const last = pyramid.length;
  const found = new Map<string, tf.Tensor>([
    ['logits', logits(embedding)],
    ['forward_head', logits(embedding)],
    ['pooled', embedding],
    ['pre_logits', embedding],
    ['forward_features', nchw(pyramid.at(-1)!.tensor)],
    ['norm_tokens', tokens.at(-1)!],
    [`stage${last}_tokens_with_cls_prenorm`, hiddenStates.at(-1)!.at(-1)!],
  ]);
  for (const [i, { tensor }] of pyramid.entries()) {
    for (const name of [`stage${i + 1}`, `intermediate${i}`, `features_only${i}`])
      found.set(name, nchw(tensor));
    if (`dbg.patch_embed${i + 1}` in golden.outputs) {
      const before = i === 0 ? input : pyramid[i - 1]!.tensor;
      const embedded = patchEmbed(before, model.params.stages[i]!.patch_embed, model.config, i);
      found.set(`dbg.patch_embed${i + 1}`, embedded.tokens);
    }
    for (const [j, state] of hiddenStates[i]!.slice(1).entries()) found.set(`dbg.block${i + 1}.${j}`, state);
  }
  if (golden.naming === 'huggingFace') {
    const blocks = hiddenStates.flatMap((states) => states.slice(1));
    for (const [i, state] of [...blocks, tokens.at(-1)!].entries()) found.set(`hidden_states.${i}`, state);
    const { attentions } = model.forward(input, { attentions: true });
    for (const [i, map] of attentions.flat().entries()) found.set(`attentions.${i}`, map);
  }
  return Object.fromEntries(found);
}

export const inputOf = ({ seed, input }: Golden): tf.Tensor4D =>
  tf.tidy(() => tf.transpose(tf.tensor(generate(seed, 'input', input, new Map()), [...input]), [0, 2, 3, 1]));

/** Largest deviation over the samples and, for sampled tensors, over the moments of all values. */
function deviationOf(
  values: ArrayLike<number> & Iterable<number>,
  { shape, step, samples, mean, std, maxAbs }: GoldenTensor,
): number {
  expect(values.length, `values for [${shape}]`).toBe(shape.reduce((a, b) => a * b, 1));
  let largest = 0;
  for (const [k, expected] of fromBase64(samples).entries())
    largest = Math.max(largest, Math.abs(values[k * step]! - expected));
  if (mean !== undefined && std !== undefined && maxAbs !== undefined) {
    let [sum, squares, top] = [0, 0, 0];
    for (const value of values)
      [sum, squares, top] = [sum + value, squares + value * value, Math.max(top, Math.abs(value))];
    const ourMean = sum / values.length;
    largest = Math.max(
      largest,
      Math.abs(ourMean - mean),
      Math.abs(Math.sqrt(squares / values.length - ourMean ** 2) - std),
      Math.abs(top - maxAbs),
    );
  }
  return largest;
}

export const deviation = async (tensor: tf.Tensor, golden: GoldenTensor): Promise<number> =>
  deviationOf(await tensor.data(), golden);

async function expectOutputs(
  outputs: Readonly<Record<string, tf.Tensor>>,
  expected: Readonly<Record<string, GoldenTensor>>,
  tolerance: number,
): Promise<void> {
  const far: string[] = [];
  for (const [name, golden] of Object.entries(expected)) {
    const tensor = outputs[name];
    if (tensor === undefined)
      throw new Error(`golden: expected a counterpart of ${name}, got none; name it in outputsOf`);
    const difference = await deviation(tensor, golden);
    if (!(difference <= tolerance)) far.push(`${name} by ${difference}`);
  }
  expect(far, `outputs further than ${tolerance} from the reference`).toEqual([]);
}

/**
 * Asserts all outputs of the goldens on a backend. Those for which `skipped` gives a reason are listed as
 * skipped, with it.
 */
export function goldenSuite(
  backend: BackendName,
  some: readonly Golden[],
  skipped: (golden: Golden) => string | undefined = () => undefined,
  run: Run = directly,
): void {
  describe(`reference numbers on ${backend}`, () => {
    beforeAll(() => useBackend(backend));
    afterAll(() => expect(tf.memory().numTensors, 'tensors left behind').toBe(0));

    it.for(some.map((golden) => [golden.name, golden] as const))('%s', async ([, golden], { skip }) => {
      const reason = skipped(golden);
      if (reason !== undefined) return skip(reason);
      const config = pvtConfig(golden.config);
      const source = sourceOf(golden, config);
      const input = inputOf(golden);

      tf.engine().startScope();
      const model = createPvt(config, source);
      const head = createClassificationHead(
        { channels: config.dims.at(-1)!, classes: config.classes },
        scoped(source, 'head'),
      );
      await expectOutputs(
        await run((x) => outputsOf(model, (embedding) => head.forward(embedding), x, golden), input),
        golden.outputs,
        toleranceOf(golden),
      );
      model.dispose();
      head.dispose();
      if (golden.dense !== undefined && config.version === 'v1') {
        const dense = createPvt({ ...config, classToken: false }, source);
        const mapsOf = (x: tf.Tensor4D) =>
          Object.fromEntries(
            dense
              .forward(x)
              .pyramid.map(({ tensor }, i) => [
                `stage${i + 1}`,
                tf.transpose(tensor, [0, 3, 1, 2]) as tf.Tensor,
              ]),
          );
        await expectOutputs(await run(mapsOf, input), golden.dense, toleranceOf(golden));
        dense.dispose();
      }
      tf.engine().endScope();
      input.dispose();
    });
  });
}

/**
 * Asserts the loss and the gradient of every parameter and of the input, each within 1e-5 of the tensor's
 * largest value and of what float32 leaves of a gradient that is zero in exact arithmetic, as that of the
 * keys' biases is.
 */
export function gradientSuite(backend: BackendName): void {
  describe(`gradients on ${backend}`, () => {
    beforeAll(async () => {
      await useGradients();
      await useBackend(backend);
    });

    it.each(gradientGoldens().map((golden) => [golden.name, golden] as const))('%s', async (_, golden) => {
      const { target, loss: expectedLoss, params, input: inputGradient } = golden.gradients!;
      const config = pvtConfig(golden.config);
      const source = sourceOf(golden, config);
      const model = createPvt(config, source);
      const head = createClassificationHead(
        { channels: config.dims.at(-1)!, classes: config.classes },
        scoped(source, 'head'),
      );
      const input = tf.variable(inputOf(golden));
      const { value, grads } = tf.variableGrads(() => {
        const logits = head.forward(model.forward(input as tf.Tensor4D).embedding);
        return tf.neg(tf.mean(tf.slice(tf.logSoftmax(logits), [0, target], [-1, 1]))) as tf.Scalar;
      });
      const far: string[] = [];
      const check = (name: string, values: Float32Array, expected: GoldenTensor) => {
        const difference = deviationOf(values, expected);
        const allowed = 1e-5 * expected.maxAbs! + 1e-7;
        if (!(difference <= allowed)) far.push(`${name} by ${difference}, allowed ${allowed}`);
      };
      if (!(Math.abs(value.dataSync()[0]! - expectedLoss) <= 1e-5 * expectedLoss))
        far.push(`loss ${value.dataSync()[0]}, expected ${expectedLoss}`);
      check(
        'input',
        (await tf.transpose(grads[input.name]!, [0, 3, 1, 2]).data()) as Float32Array,
        inputGradient,
      );

      const state = new Map<string, TensorData>();
      for (const [prefix, { spec, params }] of [
        ['', model],
        ['head.', head],
      ] as const) {
        for (const [path, leaf] of leavesOf(spec)) {
          const variable = path
            .split('.')
            .reduce((node, key) => (node as Record<string, unknown>)[key], params as unknown) as tf.Variable;
          const gradient = grads[variable.name]!;
          state.set(
            prefix + path,
            toCheckpointLayout(
              { shape: gradient.shape, values: (await gradient.data()) as Float32Array },
              leaf.layout,
            ),
          );
        }
      }
      const named = fromCanonical(state, golden.naming, config);
      expect([...named.keys()].sort()).toEqual(Object.keys(params).sort());
      for (const [name, { values }] of named) check(name, values, params[name]!);
      expect(far, 'gradients away from the reference').toEqual([]);
      model.dispose();
      head.dispose();
      tf.dispose([input, value, grads]);
    });
  });
}
