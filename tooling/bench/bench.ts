/**
 * Times our wasm path, on the threads of @pvt/adapter-wasm's runner, with its kernels and without, beside onnxruntime and PyTorch on the same weights and image, interleaved in one process, and
 * checks that all of them compute the same logits: `npm run bench -- FOLDER`. FOLDER holds `pvt_v2_b0.onnx` and
 * `pvt_v2_b2.onnx`, the official code exported with the generator's weights (b2's longer parameters repeat their first
 * 1024 values). The times of a run compare with each other and with nothing else.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { registerWasmKernels, unregisterWasmKernels } from '@pvt/adapter-wasm';
import { createRunner, type WeightFormat } from '@pvt/adapter-wasm/runner';
import { createPvt, fromStateDict, pvtConfig, scoped, type StateDict } from '@pvt/core';
import { createClassificationHead } from '@pvt/heads';
import { fromFloat32, getModel, toCanonical, writeSafetensors } from '@pvt/presets';
import { generate } from '../golden/generator.ts';
import { generated } from '../golden/golden.ts';

const size = 224;
/** Of the largest logit. The repeated weights of b2 amplify rounding: onnxruntime is 4e-5 away from PyTorch, too. */
const tolerance = 1e-4;

/** Milliseconds before each turn. */
const pause = 150;

/** One implementation, loaded and warm. */
interface Runner {
  readonly name: string;
  /** Whether it rounds on purpose, and so is not held to the others' logits. */
  readonly rounded?: boolean;
  /** The logits of the image. */
  readonly logits: readonly number[] | Float32Array;
  /** One forward, in milliseconds. */
  run(): Promise<number>;
  close(): Promise<void> | void;
}

interface Work {
  readonly name: 'pvt_v2_b0' | 'pvt_v2_b2';
  readonly config: ReturnType<typeof pvtConfig<{ version: 'v2'; dims: number[]; depths: number[] }>>;
  readonly state: StateDict;
  readonly image: Float32Array;
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '15' },
    threads: { type: 'string', default: '1' },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const [folder] = positionals;
const [rounds, threads] = [Number(options.rounds), Number(options.threads)];
const usage =
  'Usage: npm run bench -- FOLDER [--rounds 15] [--threads 1] [--json out/bench.json]\nFOLDER holds pvt_v2_b0.onnx and pvt_v2_b2.onnx.';
if (options.help) {
  console.log(usage);
  process.exit(0);
}
if (
  folder === undefined ||
  !(rounds >= 1 && Number.isInteger(rounds)) ||
  !(threads >= 1 && Number.isInteger(threads))
) {
  console.error(
    `bench: expected a folder of ONNX files and positive whole numbers, got ${process.argv.slice(2).join(' ') || 'no arguments'}.\n${usage}`,
  );
  process.exit(2);
}

function workOf(name: Work['name']): Work {
  const config = pvtConfig(getModel(name).config) as Work['config'];
  const state = generated({ naming: 'official', seed: 0 }, config);
  const repeated: StateDict =
    name === 'pvt_v2_b0'
      ? state
      : new Map(
          Array.from(state, ([path, { shape, values }]) => [
            path,
            { shape, values: values.map((_, i) => values[i % 1024]!) },
          ]),
        );
  return { name, config, state: repeated, image: generate(0, 'input', [1, 3, size, size], new Map()) };
}

function modelOf({ config, state, image }: Work) {
  const source = fromStateDict(toCanonical(state, 'official').state);
  const model = createPvt(config, source);
  const head = createClassificationHead(
    { channels: config.dims.at(-1)!, classes: config.classes },
    scoped(source, 'head'),
  );
  const input = tf.tidy(() =>
    tf.transpose(tf.tensor(image, [1, 3, size, size]), [0, 2, 3, 1]),
  ) as tf.Tensor4D;
  const forward = (from: tf.Tensor4D) => {
    const output = model.forward(from);
    const logits = head.forward(output.embedding);
    tf.dispose(output as unknown as tf.TensorContainer);
    return logits;
  };
  const close = () => {
    model.dispose();
    head.dispose();
    input.dispose();
  };
  return { forward, input, close };
}

/** The runner: all of a forward beside the caller, on as many threads as the others have. */
async function onThreads(work: Work, weights: WeightFormat = 'float32'): Promise<Runner> {
  unregisterWasmKernels();
  const { forward, input, close } = modelOf(work);
  const runner = await createRunner(forward, { threads, weights });
  const read = async () => {
    const logits = await runner.run(input);
    const values = logits.dataSync() as Float32Array;
    logits.dispose();
    return values;
  };
  const time = async () => {
    const start = performance.now();
    await read();
    return performance.now() - start;
  };
  await runner.warmup(input);
  const first = await time();
  let steady = Infinity;
  for (let i = 0; i < 6; i++) steady = Math.min(steady, await time());
  console.error(
    `  @pvt runner, ${weights}: ${(runner.bytes / 1e6).toFixed(1)} MB, weights included; first call after warmup() ${(first / steady).toFixed(2)} of the fastest of the next six`,
  );
  return {
    name: weights === 'float32' ? '@pvt runner' : `@pvt runner, weights in ${weights}`,
    rounded: weights === 'int8',
    logits: await read(),
    run: time,
    close() {
      runner.dispose();
      close();
    },
  };
}

async function ours(work: Work, kernels: boolean): Promise<Runner> {
  // Taking the kernels back frees their packed weights: the first forward after that is not timed.
  const prepare = async () => {
    if (!kernels) return unregisterWasmKernels();
    await registerWasmKernels();
    read();
  };
  const { forward, input, close } = modelOf(work);
  const read = () => {
    const logits = forward(input);
    const values = logits.dataSync() as Float32Array;
    logits.dispose();
    return values;
  };
  await prepare();
  const before = tf.memory().numBytes;
  const { kernels: launched, peakBytes } = await tf.profile(() => forward(input));
  // The profiler also lists the scopes of fused ops and views that move nothing.
  const launches = launched.filter(
    ({ name }) => !/__op$|^unnamed scope$|^(Reshape|Identity)$/.test(name),
  ).length;
  console.error(
    `  @pvt${kernels ? ' with kernels' : ''}: ${launches} kernels besides reshapes, ${((peakBytes - before) / 1e6).toFixed(1)} MB at most beyond weights and input`,
  );
  return {
    name: kernels ? '@pvt in tfjs, kernels' : '@pvt in tfjs, portable',
    logits: read(),
    async run() {
      await prepare();
      const start = performance.now();
      read();
      return performance.now() - start;
    },
    close,
  };
}

interface OrtTensor {
  readonly data: Float32Array;
}
interface Ort {
  env: { wasm: { numThreads: number } };
  Tensor: new (type: string, data: Float32Array, shape: number[]) => OrtTensor;
  InferenceSession: {
    create(
      path: string | Uint8Array,
      options: object,
    ): Promise<{
      run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
      release(): Promise<void>;
    }>;
  };
}

const requireHere = createRequire(import.meta.url);

async function onnx(
  name: 'onnxruntime-web' | 'onnxruntime-node',
  { name: model, image }: Work,
): Promise<Runner> {
  // Both register a backend named cpu with the package that they share, and the first one stays: it must be the native one.
  requireHere('onnxruntime-node');
  const ort = requireHere(name) as Ort;
  if (name === 'onnxruntime-web') ort.env.wasm.numThreads = threads;
  const path = join(resolve(folder!), `${model}.onnx`);
  const session = await ort.InferenceSession.create(name === 'onnxruntime-web' ? readFileSync(path) : path, {
    executionProviders: [name === 'onnxruntime-web' ? 'wasm' : 'cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
  });
  const input = new ort.Tensor('float32', image, [1, 3, size, size]);
  const run = async () => (await session.run({ input }))['logits']!.data;
  return {
    name: name === 'onnxruntime-web' ? 'onnxruntime-web (wasm)' : 'onnxruntime-node (native)',
    logits: await run(),
    async run() {
      const start = performance.now();
      await run();
      return performance.now() - start;
    },
    close: () => session.release(),
  };
}

/** The first of these Pythons that has torch. */
const python = ['python3', '/usr/bin/python3'].find(
  (command) => spawnSync(command, ['-c', 'import torch']).status === 0,
);

async function torch({ config, state, image }: Work): Promise<Runner> {
  const scratch = mkdtempSync(join(tmpdir(), 'pvt-bench-'));
  const weights = join(scratch, 'weights.safetensors');
  const entries = [...state, ['input', { shape: [1, 3, size, size], values: image }] as const];
  writeFileSync(
    weights,
    writeSafetensors(entries.map(([name, { shape, values }]) => [name, fromFloat32(values, shape)] as const)),
  );
  const child = spawn(python!, [join(import.meta.dirname, 'torch_pvt.py'), String(threads)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (order?: object): Promise<Record<string, unknown>> => {
    if (order !== undefined) child.stdin.write(`${JSON.stringify(order)}\n`);
    const { value, done } = await lines.next();
    if (done)
      throw new Error(
        'bench: expected an answer from PyTorch, got the end of its output; its error is above.',
      );
    return JSON.parse(value as string);
  };
  const { version } = await answer();
  const logits = (await answer({ load: { weights, config } }))['logits'];
  rmSync(scratch, { recursive: true });
  return {
    name: `PyTorch ${version} eager`,
    logits: logits as number[],
    run: async () => (await answer({ run: 1 }))['ms'] as number,
    close: () => void child.stdin.end(),
  };
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2;
};

async function bench(work: Work) {
  const runners = [
    await onThreads(work),
    await onThreads(work, 'int8'),
    await ours(work, true),
    await ours(work, false),
    await onnx('onnxruntime-web', work),
    await onnx('onnxruntime-node', work),
    ...(python === undefined ? [] : [await torch(work)]),
  ];
  const [reference] = runners;
  const times = runners.map((): number[] => []);
  for (let round = -3; round < rounds; round++) {
    for (const [i, runner] of runners.entries()) {
      // Thread pools go on looking for work for a while: without a pause each runs beside the one before. Then one
      // forward brings caches and threads back.
      await new Promise((resolve) => setTimeout(resolve, pause));
      await runner.run();
      const elapsed = await runner.run();
      if (round >= 0) times[i]!.push(elapsed);
    }
    if (process.stderr.isTTY) process.stderr.write(`\r  round ${Math.max(0, round + 1)} of ${rounds} `);
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  const scale = Math.max(...Array.from(reference!.logits, Math.abs));
  const rows = runners.map(({ name, logits, rounded = false }, i) => {
    const ms = times[i]!;
    const difference =
      Math.max(...Array.from(logits, (value, k) => Math.abs(value - reference!.logits[k]!))) / scale;
    return {
      name,
      rounded,
      median: median(ms),
      fastest: Math.min(...ms),
      slowest: Math.max(...ms),
      timesOurs: median(ms) / median(times[0]!),
      difference,
    };
  });
  for (const runner of runners) await runner.close();
  return { model: work.name, rows };
}

for (const name of ['onnxruntime-web', 'onnxruntime-node']) {
  if (existsSync(join(import.meta.dirname, 'node_modules', name))) continue;
  console.error('Installing onnxruntime (430 MB, once; only the bench uses it) …');
  const { status } = spawnSync(
    'npm',
    ['install', '--ignore-scripts', '--no-package-lock', '--no-fund', '--no-audit'],
    { cwd: import.meta.dirname, stdio: 'inherit' },
  );
  if (status !== 0) process.exit(1);
}
for (const name of ['pvt_v2_b0', 'pvt_v2_b2']) {
  if (existsSync(join(folder, `${name}.onnx`))) continue;
  console.error(
    `bench: expected ${name}.onnx in ${folder}, found none; export it from the official code as the README of the bench says.`,
  );
  process.exit(2);
}

setWasmPaths(`${dirname(requireHere.resolve('@tensorflow/tfjs-backend-wasm/package.json'))}/dist/`);
await tf.setBackend('wasm');
const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  node: process.version,
  threads,
  rounds,
};
console.log(
  `${machine.cpu}, ${machine.cores} cores, Node ${process.version}; ${size}x${size}, batch 1, ${threads} thread(s) each, but 1 in tfjs; median of ${rounds} interleaved rounds, each turn after a pause and an untimed forward`,
);
if (python === undefined) console.log('PyTorch: not measured, no Python here imports torch.');

const results = [];
for (const name of ['pvt_v2_b0', 'pvt_v2_b2'] as const) {
  console.error(`${name} …`);
  const result = await bench(workOf(name));
  results.push(result);
  const table = [
    ['', 'median ms', 'fastest', 'slowest', 'time / ours', 'Δ logits / largest'],
    ...result.rows.map((row) => [
      row.name,
      row.median.toFixed(1),
      row.fastest.toFixed(1),
      row.slowest.toFixed(1),
      row.timesOurs.toFixed(2),
      row.difference.toExponential(1),
    ]),
  ];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  console.log(
    `\n${name}\n${table.map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  ')).join('\n')}`,
  );
}
if (options.json !== undefined) {
  mkdirSync(dirname(resolve(options.json)), { recursive: true });
  writeFileSync(options.json, `${JSON.stringify({ machine, results }, null, 2)}\n`);
}
const apart = results.flatMap(({ model, rows }) =>
  rows
    .filter(({ difference, rounded }) => !rounded && !(difference <= tolerance))
    .map(({ name, difference }) => `${name} on ${model} by ${difference}`),
);
if (apart.length > 0) {
  console.error(
    `\nbench: expected the same logits within ${tolerance} of the largest, got ${apart.join(', ')}.`,
  );
  process.exit(1);
}
process.exit(0);
