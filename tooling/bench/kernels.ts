/**
 * Measures the kernels of @pvt/adapter-wasm: the first call after a warm-up, matrix products within a model
 * compared with the same kernel alone, and the time per pixel as images grow: `tsx tooling/bench/kernels.ts
 * [--rounds 9]`. Times are milliseconds of processor time, the fastest of the rounds, because other work on
 * the machine disturbs those least. First calls are measured by the clock, because engines compile on other
 * threads.
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

const wallTime = () => performance.now();
const processorTime = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const time = (work: () => unknown, now = processorTime): number => {
  const start = now();
  work();
  return now() - start;
};
const fastest = (count: number, work: () => unknown): number =>
  Math.min(...Array.from({ length: count }, () => time(work)));

const image = (size: number) => tf.randomNormal([1, size, size, 3], 0, 1, 'float32', 1) as tf.Tensor4D;
const forward = (model: Pvt, input: tf.Tensor4D) => () =>
  tf.tidy(() => void model.forward(input).embedding.dataSync());
const open = (name: 'pvt_v2_b0' | 'pvt_v2_b2_li') =>
  createPvt(pvtConfig(getModel(name).config), randomInit(1));

async function start(): Promise<void> {
  const manifest = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json');
  setWasmPaths(`${dirname(manifest)}/dist/`);
  await tf.setBackend('wasm');
  await registerWasmKernels();
}

/** The first calls of a forward. */
function measureFirstCalls(run: () => void): void {
  const [cold, first] = [time(run, wallTime), time(run, wallTime)];
  const early = Array.from({ length: 3 }, () => time(run, wallTime));
  for (let i = 0; i < 10; i++) run();
  const steady = Math.min(...Array.from({ length: 3 * rounds }, () => time(run, wallTime)));
  console.log(
    `pvt_v2_b0, 224x224: warm-up ${cold.toFixed(1)} ms, first call after it ${first.toFixed(1)} ` +
      `(${(first / steady).toFixed(2)} of the steady one), then ` +
      `${early.map((ms) => ms.toFixed(1)).join(', ')}; steady ${steady.toFixed(1)}`,
  );
}

/** A matrix product of a model, and the fastest time in which it ran there. */
interface Product {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  ms: number;
}

/** Times every product of a forward, by a kernel that measures the one that is registered. */
function timeProducts(run: () => void): Product[] {
  const products: Product[] = [];
  const kernel = tf.getKernel('PvtLinear', 'wasm');
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
  return products;
}

/** GFLOP/s of a product that runs by itself. */
function speedAlone([rows, inputs, outputs]: readonly [number, number, number]): number {
  const [x, weight, bias] = [tf.ones([rows, inputs]), tf.ones([inputs, outputs]), tf.ones([outputs])];
  const ms = fastest(50 * rounds, () =>
    tf.dispose(tf.engine().runKernel('PvtLinear', { x, weight, bias }) as tf.Tensor),
  );
  tf.dispose([x, weight, bias]);
  return (2 * rows * inputs * outputs) / ms / 1e6;
}

/** Products in a model, compared with the best that the kernel does alone. */
function measureProducts(run: () => void): void {
  const products = timeProducts(run);
  const flops = products.reduce((sum, { rows, inputs, outputs }) => sum + 2 * rows * inputs * outputs, 0);
  const inModel = flops / products.reduce((sum, { ms }) => sum + ms, 0) / 1e6;
  const shapes = [
    [64, 256, 128],
    [64, 512, 64],
    [128, 320, 320],
    [256, 256, 256],
  ] as const;
  const best = Math.max(...shapes.map(speedAlone));
  console.log(
    `products in pvt_v2_b0: ${inModel.toFixed(1)} GFLOP/s over ${products.length} layers, ` +
      `${((100 * inModel) / best).toFixed(0)} % of the best alone, ${best.toFixed(1)}`,
  );
}

/** The time per pixel as images grow. */
function measureSizes(name: 'pvt_v2_b0' | 'pvt_v2_b2_li'): void {
  const model = open(name);
  const { config } = model;
  console.log(`\n${name}    ms        ns per pixel   relative   MAC per pixel   keys per stage`);
  let smallest: number | undefined;
  for (const size of [224, 448, 896]) {
    const input = image(size);
    const run = forward(model, input);
    run();
    const ms = fastest(size === 896 ? Math.ceil(rounds / 3) : rounds, run);
    const perPixel = (1e6 * ms) / size ** 2;
    smallest ??= perPixel;
    const keys = gridSizes(config, [size, size]).map(([height, width], i) => {
      if (config.version === 'v2' && config.linear) return 49;
      const reduction = config.reductions[i]!;
      return Math.floor(height / reduction) * Math.floor(width / reduction);
    });
    const columns = [
      `${size}x${size}`.padEnd(10),
      ms.toFixed(1).padStart(7),
      perPixel.toFixed(0).padStart(14),
      (perPixel / smallest).toFixed(2).padStart(10),
      (cost(config, [size, size]).macs / size ** 2).toFixed(0).padStart(15),
    ];
    console.log(`${columns.join(' ')}   ${keys.join(', ')}`);
    input.dispose();
  }
  model.dispose();
}

await start();
const model = open('pvt_v2_b0');
const input = image(224);
measureFirstCalls(forward(model, input));
measureProducts(forward(model, input));
input.dispose();
model.dispose();
measureSizes('pvt_v2_b0');
measureSizes('pvt_v2_b2_li');
process.exit(0);
