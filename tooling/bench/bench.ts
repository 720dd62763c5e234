/**
 * Times our wasm path, in the runner of @pvt/adapter-wasm, in tfjs with its kernels and without, beside
 * onnxruntime and PyTorch on the same weights and image, interleaved, and checks that all of them compute the
 * same logits: `npm run bench -- FOLDER`. FOLDER holds `pvt_v2_b0.onnx` and `pvt_v2_b2.onnx`, the official
 * code exported with the generator's weights (b2's longer parameters repeat their first 1024 values).
 * `--against CHECKOUT` compares with the packages that another checkout has built instead. Times compare
 * within a run only.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { registerWasmKernels, unregisterWasmKernels } from '@pvt/adapter-wasm';
import { createRunner, type WeightFormat } from '@pvt/adapter-wasm/runner';
import { createPvt, fromStateDict, scoped } from '@pvt/core';
import { createClassificationHead } from '@pvt/heads';
import { toCanonical } from '@pvt/presets';
import { benchAgainst } from './against.ts';
import {
  deviation,
  eachRound,
  findTorch,
  inFile,
  median,
  pause,
  renderTable,
  size,
  sleep,
  startProgram,
  tolerance,
  useWasm,
  workOf,
  type Work,
} from './shared.ts';

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

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '15' },
    threads: { type: 'string', default: '1' },
    against: { type: 'string' },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const [folder] = positionals;
const [rounds, threads] = [Number(options.rounds), Number(options.threads)];
const usage = [
  'Usage: npm run bench -- FOLDER [--rounds 15] [--threads 1] [--json out/bench.json]',
  '       npm run bench -- --against CHECKOUT [--rounds 15] [--threads 1]',
  'FOLDER holds pvt_v2_b0.onnx and pvt_v2_b2.onnx; CHECKOUT is another copy of this repository, built.',
].join('\n');
if (options.help) {
  console.log(usage);
  process.exit(0);
}
const isCount = (value: number) => Number.isInteger(value) && value >= 1;
if ((folder === undefined) === (options.against === undefined) || !isCount(rounds) || !isCount(threads)) {
  const got = process.argv.slice(2).join(' ') || 'no arguments';
  console.error(`bench: expected a folder or a checkout, and positive whole numbers, got ${got}.\n${usage}`);
  process.exit(2);
}
if (options.against !== undefined)
  process.exit((await benchAgainst(options.against, rounds, threads)) ? 0 : 1);

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
  const megabytes = (runner.bytes / 1e6).toFixed(1);
  console.error(
    `  @pvt runner, ${weights}: ${megabytes} MB, weights included; ` +
      `first call after warmup() ${(first / steady).toFixed(2)} of the fastest of the next six`,
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
  const megabytes = ((peakBytes - before) / 1e6).toFixed(1);
  console.error(
    `  @pvt${kernels ? ' with kernels' : ''}: ${launches} kernels besides reshapes, ` +
      `${megabytes} MB at most beyond weights and input`,
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
  // Both register a backend named cpu with the package that they share, and the first one stays: it must be
  // the native one.
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

const python = findTorch();

async function torch({ config, state, image }: Work): Promise<Runner> {
  const script = join(import.meta.dirname, 'torch_pvt.py');
  const { ask, close } = startProgram(python!, [script, String(threads)]);
  const { version } = await ask();
  const input = { shape: [1, 3, size, size], values: image };
  const { logits } = await inFile(new Map([...state, ['input', input]]), (weights) =>
    ask({ load: { weights, config } }),
  );
  return {
    name: `PyTorch ${version} eager`,
    logits: logits as number[],
    run: async () => (await ask({ run: 1 }))['ms'] as number,
    close,
  };
}

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
  await eachRound(rounds, async (_round, counted) => {
    for (const [i, runner] of runners.entries()) {
      // One forward after the pause brings caches and threads back.
      await sleep(pause);
      await runner.run();
      const elapsed = await runner.run();
      if (counted) times[i]!.push(elapsed);
    }
  });
  const rows = runners.map(({ name, logits, rounded = false }, i) => {
    const ms = times[i]!;
    return {
      name,
      rounded,
      median: median(ms),
      fastest: Math.min(...ms),
      slowest: Math.max(...ms),
      timesOurs: median(ms) / median(times[0]!),
      difference: deviation(logits, reference!.logits),
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
  if (existsSync(join(folder!, `${name}.onnx`))) continue;
  console.error(
    `bench: expected ${name}.onnx in ${folder}, found none; export it from the official code, with the ` +
      "generator's weights.",
  );
  process.exit(2);
}

await useWasm();
const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  node: process.version,
  threads,
  rounds,
};
console.log(
  [
    `${machine.cpu}, ${machine.cores} cores, Node ${process.version}`,
    `${size}x${size}, batch 1, ${threads} thread(s) each, but 1 in tfjs`,
    `median of ${rounds} interleaved rounds, each turn after a pause and an untimed forward`,
  ].join('\n'),
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
  console.log(`\n${name}\n${renderTable(table)}`);
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
