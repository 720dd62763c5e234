import * as tf from '@tensorflow/tfjs-core';
import { cost, createPvt, patchEmbed, pvtConfig, scoped, type Pvt } from '@pvt/core';
import { createClassificationHead } from '@pvt/heads';
import { useBackend, type BackendName } from '@pvt/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generate } from './generator.ts';
import { fromBase64, sourceOf, type Golden, type GoldenTensor } from './golden.ts';

const fixtures = import.meta.glob<Golden>('./fixtures/*.json', { eager: true, import: 'default' });

/** Every golden whose name begins so, from cheap to dear. */
export const goldens = (prefix = ''): Golden[] =>
  Object.values(fixtures)
    .filter(({ name }) => name.startsWith(prefix))
    .sort((a, b) => macs(a) - macs(b));

/** Multiply-adds of a golden's whole batch. */
export const macs = ({ config, input: [batch, , height, width] }: Golden): number => batch * cost(pvtConfig(config), [height, width]).macs;

/**
 * float32 against the float64 reference. PyTorch's own float32 run is 2e-6 away; the sum of a longer chain in another
 * order is a few times that. The probes scale every norm down so far that a wrong epsilon shows at 1e-6.
 */
export function toleranceOf({ name, config }: Golden): number {
  if (name.includes('epsprobe')) return 1e-6;
  const blocks = config.depths.reduce((sum, depth) => sum + depth, 0);
  return blocks > 20 ? 5e-5 : 2e-5;
}

/** What our forward calls each of an implementation's outputs, in PyTorch's layout. */
async function outputsOf(model: Pvt, logits: (embedding: tf.Tensor2D) => tf.Tensor2D, input: tf.Tensor4D, golden: Golden): Promise<Map<string, tf.Tensor>> {
  const { pyramid, embedding, tokens, hiddenStates, attentions } = model.forward(input, { tokens: true, hiddenStates: true, attentions: true });
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
    for (const name of [`stage${i + 1}`, `intermediate${i}`, `features_only${i}`]) found.set(name, nchw(tensor));
    const { tokens: embedded } = patchEmbed(i === 0 ? input : pyramid[i - 1]!.tensor, model.params.stages[i]!.patch_embed, model.config, i);
    found.set(`dbg.patch_embed${i + 1}`, embedded);
    for (const [j, state] of hiddenStates[i]!.slice(1).entries()) found.set(`dbg.block${i + 1}.${j}`, state);
  }
  if (golden.naming === 'huggingFace') {
    const blocks = hiddenStates.flatMap((states) => states.slice(1));
    for (const [i, state] of [...blocks, tokens.at(-1)!].entries()) found.set(`hidden_states.${i}`, state);
    for (const [i, map] of attentions.flat().entries()) found.set(`attentions.${i}`, map);
  }
  return found;
}

/** Largest deviation over the samples and, for sampled tensors, over the moments of all values. */
export async function deviation(tensor: tf.Tensor, { shape, step, samples, mean, std, maxAbs }: GoldenTensor): Promise<number> {
  expect(tensor.size, `values of [${tensor.shape}] for [${shape}]`).toBe(shape.reduce((a, b) => a * b, 1));
  const values = await tensor.data();
  let largest = 0;
  for (const [k, expected] of fromBase64(samples).entries()) largest = Math.max(largest, Math.abs(values[k * step]! - expected));
  if (mean !== undefined && std !== undefined && maxAbs !== undefined) {
    let [sum, squares, top] = [0, 0, 0];
    for (const value of values) [sum, squares, top] = [sum + value, squares + value * value, Math.max(top, Math.abs(value))];
    const ourMean = sum / values.length;
    largest = Math.max(largest, Math.abs(ourMean - mean), Math.abs(Math.sqrt(squares / values.length - ourMean ** 2) - std), Math.abs(top - maxAbs));
  }
  return largest;
}

async function expectOutputs(outputs: ReadonlyMap<string, tf.Tensor>, expected: Readonly<Record<string, GoldenTensor>>, tolerance: number): Promise<void> {
  const far: string[] = [];
  for (const [name, golden] of Object.entries(expected)) {
    const tensor = outputs.get(name);
    if (tensor === undefined) throw new Error(`golden: expected a counterpart of ${name}, got none; name it in outputsOf`);
    const difference = await deviation(tensor, golden);
    if (!(difference <= tolerance)) far.push(`${name} by ${difference}`);
  }
  expect(far, `outputs further than ${tolerance} from the reference`).toEqual([]);
}

/** Asserts all outputs of the goldens on a backend. Those for which `skipped` gives a reason are listed as skipped, with it. */
export function goldenSuite(backend: BackendName, some: readonly Golden[], skipped: (golden: Golden) => string | undefined = () => undefined): void {
  describe(`reference numbers on ${backend}`, () => {
    beforeAll(() => useBackend(backend));
    afterAll(() => expect(tf.memory().numTensors, 'tensors left behind').toBe(0));

    it.for(some.map((golden) => [golden.name, golden] as const))('%s', async ([, golden], { skip }) => {
      const reason = skipped(golden);
      if (reason !== undefined) return skip(reason);
      const config = pvtConfig(golden.config);
      const source = sourceOf(golden, config);
      const shapes = new Map([['input', golden.input]]);
      const input = tf.tidy(() => tf.transpose(tf.tensor(generate(golden.seed, 'input', golden.input, shapes), [...golden.input]), [0, 2, 3, 1])) as tf.Tensor4D;

      tf.engine().startScope();
      const model = createPvt(config, source);
      const head = createClassificationHead({ channels: config.dims.at(-1)!, classes: config.classes }, scoped(source, 'head'));
      await expectOutputs(await outputsOf(model, (embedding) => head.forward(embedding), input, golden), golden.outputs, toleranceOf(golden));
      model.dispose();
      head.dispose();
      if (golden.dense !== undefined && config.version === 'v1') {
        const dense = createPvt({ ...config, classToken: false }, source);
        const maps = dense.forward(input).pyramid.map(({ tensor }, i) => [`stage${i + 1}`, tf.transpose(tensor, [0, 3, 1, 2])] as const);
        await expectOutputs(new Map(maps), golden.dense, toleranceOf(golden));
        dense.dispose();
      }
      tf.engine().endScope();
      input.dispose();
    });
  });
}
