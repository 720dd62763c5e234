/**
 * Times forwards of the packages that are built in a checkout, for against.ts: `node forward.mjs CHECKOUT
 * WEIGHTS INPUT runner|kernels THREADS`. Prints the logits, then the milliseconds of one forward for every
 * line that it reads.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [checkout = '', weights = '', image = '', mode = '', threads = '1'] = process.argv.slice(2);
// The command depends on all packages that are needed here.
const { resolve } = createRequire(join(checkout, 'apps/cli/package.json'));
const load = (/** @type {string} */ name) => import(pathToFileURL(resolve(name)).href);
const tf = await load('@tensorflow/tfjs-core');
const { setWasmPaths } = await load('@tensorflow/tfjs-backend-wasm');
const { registerWasmKernels, ...older } = await load('@pvt/adapter-wasm');
// Before it had an entry of its own, the runner was exported beside the kernels.
const { createRunner } = older.createRunner ? older : await load('@pvt/adapter-wasm/runner');
const { createPvt, scoped } = await load('@pvt/core');
const { createClassificationHead } = await load('@pvt/heads');
const { parseSafetensors, readCheckpoint, toFloat32 } = await load('@pvt/presets');

setWasmPaths(`${dirname(resolve('@tensorflow/tfjs-backend-wasm/package.json'))}/dist/`);
await tf.setBackend('wasm');
const { config, source } = readCheckpoint(readFileSync(weights));
const backbone = createPvt(config, source);
const head = createClassificationHead(
  { channels: config.dims.at(-1), classes: config.classes },
  scoped(source, 'head'),
);
const pixels = parseSafetensors(readFileSync(image)).tensors.get('input');
const input = tf.tidy(() => tf.transpose(tf.tensor(toFloat32(pixels), pixels.shape), [0, 2, 3, 1]));
const forward = (/** @type {unknown} */ x) => tf.tidy(() => head.forward(backbone.forward(x).embedding));

const runner = mode === 'runner' ? await createRunner(forward, { threads: Number(threads) }) : undefined;
if (!runner) await registerWasmKernels();
async function run() {
  const logits = runner ? await runner.run(input) : forward(input);
  const values = logits.dataSync();
  logits.dispose();
  return values;
}

console.log(JSON.stringify({ logits: Array.from(await run()) }));
async function time() {
  const start = performance.now();
  await run();
  console.log(JSON.stringify({ ms: performance.now() - start }));
}
createInterface({ input: process.stdin })
  .on('line', time)
  .on('close', () => process.exit(0));
