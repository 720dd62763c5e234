/**
 * Times what follows the model at 640x640 beside the model itself, on wasm: `tsx tooling/bench/postprocess.ts
 * [--rounds 5]`. A RetinaNet of 80 classes and a semantic FPN of 150, both on PVT v2 b0 with generated
 * weights that put thousands of candidates above the threshold. Exits with 1 where either takes a tenth of
 * its model's time.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { createPvt, pvtConfig, type ParamSource } from '@pvt/core';
import {
  createFpn,
  createRetinaNet,
  createSemanticFpn,
  detect,
  labelMaps,
  mmdetRules,
  torchvisionRules,
  type RetinaNetRules,
} from '@pvt/heads';
import { generate, type Override } from '../golden/generator.ts';
import { median, useWasm } from './shared.ts';

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } });
const rounds = Number(options.rounds);
if (!(Number.isInteger(rounds) && rounds > 0)) {
  console.error(`postprocess: expected a positive whole number of rounds, got ${options.rounds}.`);
  process.exit(2);
}
await useWasm();

/** Parameters of the golden generator, by our paths. */
function generated(prefix: string, overrides: Readonly<Record<string, Override>> = {}): ParamSource {
  return {
    shape: (_path, leaf) => leaf.shape,
    values(path, leaf) {
      const name = `${prefix}${path}`;
      const shapes = new Map([[name.replace(/bias$/, 'weight'), /norm|bn/.test(path) ? [1] : [1, 1]]]);
      return generate(0, name, leaf.shape, shapes, overrides[path]);
    },
  };
}

const size = [640, 640] as const;
const config = pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2] });
const backbone = createPvt(config, generated('backbone.'));
const input = tf.tidy(() =>
  tf.transpose(tf.tensor4d(generate(0, 'input', [1, 3, ...size], new Map()), [1, 3, ...size]), [0, 2, 3, 1]),
);

/** Median milliseconds of a model with its numbers read, and of what follows. */
async function time<T extends tf.TensorContainer>(
  forward: () => T,
  after: (output: T) => Promise<unknown>,
): Promise<{ model: number; after: number }> {
  const [model, rest]: [number[], number[]] = [[], []];
  for (let round = -1; round < rounds; round++) {
    const start = performance.now();
    const output = tf.tidy(forward);
    for (const tensor of Object.values(output as object).flatMap((value) =>
      value instanceof tf.Tensor ? [value] : Object.values(value as object),
    ))
      if (tensor instanceof tf.Tensor) await tensor.data();
    const middle = performance.now();
    await after(output);
    const end = performance.now();
    tf.dispose(output);
    if (round >= 0) {
      model.push(middle - start);
      rest.push(end - middle);
    }
  }
  return { model: median(model), after: median(rest) };
}

const ratios: number[] = [];
const report = (name: string, { model, after }: { model: number; after: number }, note: string): void => {
  ratios.push(after / model);
  const cells = [
    name.padEnd(28),
    `model ${model.toFixed(0).padStart(6)} ms  `,
    `after ${after.toFixed(1).padStart(6)} ms  `,
    `${((100 * after) / model).toFixed(2).padStart(5)} %  `,
    note,
  ];
  console.log(cells.join(' '));
};
const cpu = cpus()[0]?.model ?? 'unknown';
console.log(`${cpu}, Node ${process.version}, wasm, ${size.join('x')}, median of ${rounds} rounds`);

async function detector(name: string, rules: RetinaNetRules): Promise<void> {
  const neck = createFpn(
    { features: backbone.features, channels: 256, startLevel: 1, outputs: 5, extra: 'input' },
    generated('neck.'),
  );
  const head = createRetinaNet(
    { features: neck.features, classes: 80, rules },
    generated('bbox_head.', {
      'retina_cls.weight': { gain: 4 },
      'retina_cls.bias': { offset: -6 },
      'retina_reg.weight': { gain: 2 },
    }),
  );
  let note = '';
  const times = await time(
    () => head.forward(neck.forward(backbone.forward(input).pyramid)) as unknown as tf.TensorContainer[],
    async (levels) => {
      const [found] = await detect(levels as unknown as ReturnType<typeof head.forward>, {
        rules,
        input: size,
      });
      note = `${found!.length} objects retained`;
    },
  );
  report(name, times, note);
  neck.dispose();
  head.dispose();
}
await detector('RetinaNet, mmdetection', mmdetRules);
await detector('RetinaNet, torchvision', torchvisionRules);

const neck = createFpn({ features: backbone.features, channels: 256 }, generated('neck.'));
const head = createSemanticFpn({ features: neck.features, classes: 150 }, generated('decode_head.'));
const times = await time(
  () => [head.forward(neck.forward(backbone.forward(input).pyramid))],
  async ([logits]) => labelMaps(logits as tf.Tensor4D, [size]),
);
report('semantic FPN, 150 classes', times, `${size[0] * size[1]} pixels labelled`);
process.exit(ratios.every((ratio) => ratio < 0.1) ? 0 : 1);
