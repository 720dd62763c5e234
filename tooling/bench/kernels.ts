/**
 * What the kernels of @pvt/adapter-wasm do by themselves: the first call after a warm-up, the product in place beside the
 * same product alone, and the time per pixel as images grow: `tsx tooling/bench/kernels.ts [--rounds 9]`. Milliseconds of
 * the processor, fastest of the rounds: other work on the machine disturbs them least. The first calls are by the clock,
 * because engines compile beside them.
 */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { registerWasmKernels } from '@pvt/adapter-wasm';
import { cost, createPvt, gridSizes, pvtConfig, randomInit, type Pvt } from '@pvt/core';
import { getModel } from '@pvt/presets';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '9' } } });
const rounds = Number(options.rounds);

setWasmPaths(
  `${dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json'))}/dist/`,
);
await tf.setBackend('wasm');
await registerWasmKernels();

const image = (size: number) => tf.randomNormal([1, size, size, 3], 0, 1, 'float32', 1) as tf.Tensor4D;
const clock = () => performance.now();
const processor = () => (({ user, system }) => (user + system) / 1000)(process.cpuUsage());
const time = (work: () => unknown, now = processor): number => {
  const start = now();
  work();
  return now() - start;
};
const fastest = (count: number, work: () => unknown): number =>
  Math.min(...Array.from({ length: count }, () => time(work)));
const forward = (model: Pvt, input: tf.Tensor4D) => () =>
  tf.tidy(() => void model.forward(input).embedding.dataSync());
const open = (name: 'pvt_v2_b0' | 'pvt_v2_b2_li') =>
  createPvt(pvtConfig(getModel(name).config), randomInit(1));

const b0 = open('pvt_v2_b0');
const input = image(224);
const run = forward(b0, input);
const [cold, first] = [time(run, clock), time(run, clock)];
const early = Array.from({ length: 3 }, () => time(run, clock));
for (let i = 0; i < 10; i++) run();
const steady = Math.min(...Array.from({ length: 3 * rounds }, () => time(run, clock)));
console.log(
  `pvt_v2_b0, 224x224: warm-up ${cold.toFixed(1)} ms, first call after it ${first.toFixed(1)} (${(first / steady).toFixed(2)} of the steady one), then ${early.map((ms) => ms.toFixed(1)).join(', ')}; steady ${steady.toFixed(1)}`,
);

/** Every product of a forward: its multiply-adds, and the fastest that it ran among the others. */
const products: { readonly rows: number; readonly inputs: number; readonly outputs: number; ms: number }[] =
  [];
const kernel = tf.getKernel('PvtLinear', 'wasm')!;
let call = 0;
tf.unregisterKernel('PvtLinear', 'wasm');
tf.registerKernel({
  ...kernel,
  kernelFunc: (args) => {
    const [inputs, outputs] = args.inputs['weight']!.shape as [number, number];
    const rows = args.inputs['x']!.shape.reduce((a, b) => a * b, 1) / inputs;
    let result!: tf.TensorInfo | tf.TensorInfo[];
    const ms = time(() => (result = kernel.kernelFunc(args)));
    products[call] ??= { rows, inputs, outputs, ms };
    products[call]!.ms = Math.min(products[call]!.ms, ms);
    call++;
    return result;
  },
});
for (let round = 0; round < 3 * rounds; round++) {
  call = 0;
  run();
}
tf.unregisterKernel('PvtLinear', 'wasm');
tf.registerKernel(kernel);

const flops = products.reduce((sum, { rows, inputs, outputs }) => sum + 2 * rows * inputs * outputs, 0);
const inPlace = flops / products.reduce((sum, { ms }) => sum + ms, 0) / 1e6;
const alone = ([rows, inputs, outputs]: readonly [number, number, number]): number => {
  const [x, weight, bias] = [tf.ones([rows, inputs]), tf.ones([inputs, outputs]), tf.ones([outputs])];
  const ms = fastest(50 * rounds, () =>
    tf.dispose(tf.engine().runKernel('PvtLinear', { x, weight, bias }) as tf.Tensor),
  );
  tf.dispose([x, weight, bias]);
  return (2 * rows * inputs * outputs) / ms / 1e6;
};
const best = Math.max(
  ...(
    [
      [64, 256, 128],
      [64, 512, 64],
      [128, 320, 320],
      [256, 256, 256],
    ] as const
  ).map(alone),
);
console.log(
  `products of pvt_v2_b0 in place: ${inPlace.toFixed(1)} GFLOP/s over ${products.length} layers, ${((100 * inPlace) / best).toFixed(0)} % of the best alone, ${best.toFixed(1)}`,
);
tf.dispose(input);
b0.dispose();

for (const name of ['pvt_v2_b0', 'pvt_v2_b2_li'] as const) {
  const model = open(name);
  console.log(`\n${name}    ms        ns per pixel   relative   MAC per pixel   keys per stage`);
  let smallest: number | undefined;
  for (const size of [224, 448, 896]) {
    const input = image(size);
    const run = forward(model, input);
    run();
    const ms = fastest(size === 896 ? Math.ceil(rounds / 3) : rounds, run);
    const perPixel = (1e6 * ms) / size ** 2;
    smallest ??= perPixel;
    const { config } = model;
    const keys = gridSizes(config, [size, size]).map(([height, width], i) =>
      config.version === 'v2' && config.linear
        ? 49
        : Math.floor(height / config.reductions[i]!) * Math.floor(width / config.reductions[i]!),
    );
    console.log(
      `${`${size}x${size}`.padEnd(10)} ${ms.toFixed(1).padStart(7)} ${perPixel.toFixed(0).padStart(14)} ${(perPixel / smallest).toFixed(2).padStart(10)} ${(cost(config, [size, size]).macs / size ** 2).toFixed(0).padStart(15)}   ${keys.join(', ')}`,
    );
    input.dispose();
  }
  model.dispose();
}
process.exit(0);
